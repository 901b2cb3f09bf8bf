"""Load in steps, as the tutorial has it: two more users every minute, eleven times, each asking again 0.8 to 0.9 s after an answer.

The environment changes it: MODEL_NAME, REQUEST_BODY (a file), STEP_COUNT, STEP_SECONDS, STEP_USERS, WAIT_SECONDS (the shorter of the two waits).
"""
import os
import pathlib

import locust

MODEL = os.environ.get("MODEL_NAME", "image_classifier")
BODY = pathlib.Path(os.environ.get("REQUEST_BODY") or pathlib.Path(__file__).with_name("request-body.json")).read_bytes()
STEPS = int(os.environ.get("STEP_COUNT", "11"))
STEP_SECONDS = float(os.environ.get("STEP_SECONDS", "60"))
STEP_USERS = int(os.environ.get("STEP_USERS", "2"))
WAIT_SECONDS = float(os.environ.get("WAIT_SECONDS", "0.8"))


class Caller(locust.FastHttpUser):
    wait_time = locust.between(WAIT_SECONDS, WAIT_SECONDS * 1.125)

    @locust.task
    def predict(self):
        with self.client.post(f"/v1/models/{MODEL}:predict", data=BODY, headers={"Content-Type": "application/json"}, catch_response=True) as answer:
            if answer.status_code != 200:
                answer.failure(f"{answer.status_code}: {answer.text[:200]}")
            elif not answer.json().get("predictions"):
                answer.failure("no predictions in the answer")


class Steps(locust.LoadTestShape):
    def tick(self):
        step = int(self.get_run_time() // STEP_SECONDS)
        return (STEP_USERS * (step + 1), STEP_USERS) if step < STEPS else None
