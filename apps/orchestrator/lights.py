"""The health lights, pure: one per module, with its reason, its fix and its age."""

from dataclasses import dataclass
from typing import TypedDict

from apps.shared.messages import MODULES, Health, ModuleState, Process

BUILT = ("orchestrator", "asr", "policy", "tts")
NEEDED = ("policy", "tts")  # without these she cannot answer
SILENT_S = 3.0  # three missed heartbeats: it hangs


class LightStatus(TypedDict):
    """One light as `GET /status` shows it."""

    state: ModuleState
    engine: str
    model: str
    reason: str
    fix: str
    age_s: float | None
    pid: int | None


@dataclass(slots=True)
class Light:
    """What is known of one module."""

    state: ModuleState = "off"
    engine: str = ""
    model: str = ""
    reason: str = ""
    fix: str = ""
    pid: int | None = None
    seen_s: float | None = None
    joined: bool = False
    ready: bool = False
    told: Health | None = None  # the last that it said of itself
    hung: bool = False
    given_up: bool = False

    @property
    def shown(self) -> tuple[object, ...]:
        """What somebody looking at the light would notice."""
        return self.state, self.engine, self.model, self.reason, self.ready


class Lights:
    """All lights."""

    def __init__(self, without: frozenset[str] = frozenset()) -> None:
        self._lights = {module: Light(reason="not in this version") for module in MODULES}
        for module in BUILT:
            self._lights[module] = Light(state="starting", reason="has not joined yet")
        for module in without & set(BUILT):
            self._lights[module] = Light(reason="left out with --without")

    def joined(self, module: str, pid: int, now_s: float) -> None:
        """Record that a worker is on the bus."""
        self._lights[module] = Light(state="starting", pid=pid, seen_s=now_s, joined=True)

    def seen(self, module: str, now_s: float) -> bool:
        """Record a sign of life; True when it changes what the light shows.

        Who seemed hung is as it was before: ears that hear send levels all the time, and no heartbeats.
        """
        light = self._lights.get(module)
        if light is None:
            return False
        light.seen_s = now_s
        return light.hung and light.told is not None and self.health(module, light.told, now_s)

    def health(self, module: str, health: Health, now_s: float) -> bool:
        """Record a heartbeat; True when it changes what the light shows."""
        light = self._lights[module]
        before = light.shown
        light.state, light.reason, light.fix = health.state, health.reason, health.fix
        light.engine, light.model, light.ready = health.engine, health.model, health.ready
        light.told, light.hung, light.seen_s = health, False, now_s
        return before != light.shown

    def left(self, module: str, reason: str) -> None:
        """Record that a worker has left the bus."""
        light = self._lights[module]
        light.state, light.reason, light.fix = "down", reason, "It is being restarted; if not, run: aivt up"
        light.joined = light.ready = False
        light.pid = None

    def process(self, report: Process) -> None:
        """Record what the supervisor says; a worker that is on the bus speaks for itself."""
        light = self._lights.get(report.module)
        if light is None or light.joined:
            return
        light.state, light.reason, light.fix = report.state, report.reason, report.fix
        light.given_up = report.state == "down"

    def hung(self, now_s: float) -> list[str]:
        """Mark and return the workers that have just fallen silent without leaving."""
        fallen = [
            module
            for module, light in self._lights.items()
            if light.joined
            and not light.hung
            and light.seen_s is not None
            and now_s - light.seen_s > SILENT_S
        ]
        for module in fallen:
            light = self._lights[module]
            light.state, light.hung, light.ready = "down", True, False
            light.reason = f"has not answered for {SILENT_S:.0f} s"
            light.fix = "It may be hung: look at its log, or restart it."
        return fallen

    def itself(self, pid: int, now_s: float, reason: str = "", fix: str = "") -> bool:
        """Set the orchestrator's own light; True when that changes it."""
        light = self._lights["orchestrator"]
        state: ModuleState = "degraded" if reason else "ok"
        changed = (light.state, light.reason) != (state, reason)
        self._lights["orchestrator"] = Light(state, reason=reason, fix=fix, pid=pid, seen_s=now_s, ready=True)
        return changed

    def missing(self) -> str:
        """Why she cannot answer now: the first needed module that is not ready, and its reason; else ""."""
        for module in NEEDED:
            light = self._lights[module]
            if not light.ready:
                return f"{module}_down: {light.reason or light.state}"
        return ""

    def hopeless(self) -> bool:
        """Whether a needed module will not come back by itself."""
        return any(self._lights[module].given_up or self._lights[module].state == "off" for module in NEEDED)

    def status(self, now_s: float) -> dict[str, LightStatus]:
        """All lights, for `GET /status`; a light's age counts from the last sign of life."""
        return {module: self._shown(light, now_s) for module, light in self._lights.items()}

    @staticmethod
    def _shown(light: Light, now_s: float) -> LightStatus:
        return {
            "state": light.state,
            "engine": light.engine,
            "model": light.model,
            "reason": light.reason,
            "fix": light.fix,
            "age_s": None if light.seen_s is None else round(now_s - light.seen_s, 1),
            "pid": light.pid,
        }
