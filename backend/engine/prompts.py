"""The prompt of a rollout: the text that was set, and the event of a quick key that acts in its place for a while."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Prompt:
    """The prompt of a chunk."""

    text: str = ""
    """The text without any event: as typed, else the start's or the scene's."""
    event: str | None = None
    """Name of the event that acts."""
    event_text: str = ""
    """Its text, which replaces `text` while it acts."""

    @property
    def effective(self) -> str:
        """The text that the world follows."""
        return self.text if self.event is None else self.event_text


class PromptState:
    """The prompt of the next chunk. Not thread-safe: its owner holds a lock."""

    def __init__(self, prompt: Prompt) -> None:
        """Begin with the prompt that the rollout began with."""
        self._prompt = prompt
        self._pending = self._clears = False

    @property
    def prompt(self) -> Prompt:
        """The prompt that the next chunk has."""
        return self._prompt

    @property
    def pending(self) -> bool:
        """True if the next chunk changes the world's text."""
        return self._pending

    def set_text(self, text: str) -> None:
        """Follow `text` from the next chunk on, and end the event that acts."""
        self._prompt, self._pending, self._clears = Prompt(text), True, False

    def set_event(self, name: str, text: str) -> None:
        """Let an event act from the next chunk on, in place of the one before."""
        self._prompt = replace(self._prompt, event=name, event_text=text)
        self._pending, self._clears = True, False

    def clear_event(self) -> None:
        """End the event: what it replaced acts again. One that no chunk has seen yet acts in the next chunk first."""
        if self._prompt.event is None:
            return
        if self._pending:
            self._clears = True
        else:
            self._end_event()

    def enter_scene(self, prompt: str) -> None:
        """Follow the prompt of a new scene; one without a prompt keeps the text. The event goes on."""
        if prompt and prompt != self._prompt.text:
            self._prompt, self._pending = replace(self._prompt, text=prompt), True

    def restore(self, prompt: Prompt, *, pending: bool = False) -> None:
        """Continue with `prompt`, which the world follows already unless `pending`."""
        self._prompt, self._pending, self._clears = prompt, pending, False

    def follow(self, text: str | None, event: str | None) -> None:
        """Take the text and the event of a recorded chunk."""
        if event is None:
            self._prompt = Prompt(self._prompt.text if text is None else text)
        else:
            self._prompt = replace(
                self._prompt, event=event, event_text=self._prompt.event_text if text is None else text
            )
        self._pending = self._clears = False

    def sample(self) -> tuple[str | None, Prompt]:
        """Return the text to give to the world for the next chunk, None for the same as before, and its prompt."""
        shown = self._prompt
        text = shown.effective if self._pending else None
        self._pending = False
        if self._clears:
            self._clears = False
            self._end_event()
        return text, shown

    def _end_event(self) -> None:
        self._prompt, self._pending = Prompt(self._prompt.text), True
