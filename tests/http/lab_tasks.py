"""The load that the lab puts on its image classifier, for Locust: users that post a picture every 0.8 to 0.9 s, two more at each step up to 22."""
import base64
import os
import pathlib

import locust

PICTURE = base64.b64encode((pathlib.Path(__file__).parents[1] / "data/pictures/bag.jpg").read_bytes()).decode()
STEP_USERS, LAST_STEP, STEP_S = 2, 11, float(os.environ.get("STEP_SECONDS", "60"))


class Classify(locust.HttpUser):
    wait_time = locust.between(0.8, 0.9)

    @locust.task
    def predict(self):
        body = {"signature_name": "serving_preprocess", "instances": [{"b64": PICTURE}]}
        with self.client.post(f"/v1/models/{os.environ['MODEL_NAME']}/versions/1:predict", json=body, catch_response=True) as answer:
            if answer.status_code != 200 or answer.json()["predictions"][0]["labels"][0] != "Bag":
                answer.failure(answer.text)


class StepLoad(locust.LoadTestShape):
    def tick(self):
        step = int(self.get_run_time() // STEP_S) + 1
        return (step * STEP_USERS, 100) if step <= LAST_STEP else None
