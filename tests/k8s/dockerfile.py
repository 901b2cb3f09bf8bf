"""What a Dockerfile says about the image that it makes: enough of its language for ours."""
import json
import re


class Dockerfile:
    def __init__(self, path):
        self.path = path
        text = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", path.read_text(), flags=re.M))
        self.instructions = [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]
        self.stages, self.final = [], []
        for word, rest in self.instructions:
            if word == "FROM":
                self.stages.append(rest.split())
                self.final = []
            self.final.append((word, rest))

    def last(self, word):
        """The rest of the last such instruction in the final stage."""
        return next((rest for w, rest in reversed(self.final) if w == word), None)

    @property
    def env(self):
        out = {}
        for word, rest in self.final:
            if word == "ENV":
                out.update((k, v.strip('"')) for k, v in re.findall(r'(\w+)=("[^"]*"|\S*)', rest))
        return out

    @property
    def labels(self):
        return {k: v.strip('"') for w, rest in self.final if w == "LABEL" for k, v in re.findall(r'([\w.]+)=("[^"]*"|\S*)', rest)}

    @property
    def entrypoint(self):
        return json.loads(self.last("ENTRYPOINT"))

    @property
    def user(self):
        return tuple(int(n) for n in self.last("USER").split(":"))

    @property
    def healthcheck(self):
        found = re.search(r"CMD (\[.*\])", self.last("HEALTHCHECK") or "")
        return json.loads(found[1]) if found else None

    @property
    def context_sources(self):
        """Paths of the build context that are copied into a stage."""
        return [source for word, rest in self.instructions if word == "COPY" and "--from=" not in rest
                for source in [w for w in rest.split() if not w.startswith("--")][:-1]]
