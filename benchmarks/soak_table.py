"""Results of a soak as the table of docs/kiosk.md and as a line for the README."""

from __future__ import annotations

from typing import Any

FAULTS = {
    "socket_cut": "the socket is cut",
    "engine_exception": "the model raises",
    "page_reload": "the page is reloaded",
    "nan_latent": "every number that a dream holds becomes NaN",
    "silent_client": "a client takes a place, reads nothing and says nothing",
    "encoder_error": "the video encoder raises",
    "disk_full": "the disk is full when a clip is written",
    "grey_picture": "the picture turns grey and stays so",
    "greedy_client": "a client reads nothing and claims to have seen everything",
    "server_killed": "the server is killed",
    "engine_hang": "the model hangs for ever",
}


def soak_table(result: dict[str, Any]) -> str:
    """Markdown: the run in a few sentences, every fault, and every life of the server that was long enough."""
    machine, load = result["machine"], result["load"]
    ran = f"`{result['command'].split(' --output')[0]}` at commit {machine['commit']}, {machine['time']}"
    where = f"{machine['cores']} cores of {machine['processor']}, Chromium and other work on the same cores"
    busy = f"load {load['median']:g} in the median, at most {load['max']:g}"
    visits = f"{result['visits']} visits, {result['visits_to_the_farewell']} of them to their end"
    still = f"{result['unwell_seconds_between_faults']:g} s"
    disk = f"Logs took {result['log_mib']:g} MiB, {result['clips']} clips {result['clips_mib']:g} MiB"
    lines = [
        f"{ran}, on {where} ({busy}): **{summary_of(result)}**. {visits}; once recovered from a fault and before the",
        f"next one the screen stood still for {still} in all. {disk}.",
        "",
        "| fault | times | recovered after, median s | at most s | told in the log | after, median s |",
        "|---|---|---|---|---|---|",
    ]
    for fault, kind in result["faults"].items():
        told = f"{kind['logged_times']} of {kind['times']}"
        cells = [
            FAULTS[fault],
            kind["times"],
            kind["recovered_median_seconds"],
            kind["recovered_max_seconds"],
            told,
            kind["logged_median_seconds"],
        ]
        lines.append(f"| {' | '.join('-' if cell is None else str(cell) for cell in cells)} |")
    lines += [
        "",
        "| life of the server, minutes | MiB once warm | last | most | MiB an hour (95 % interval) |",
        "|---|---|---|---|---|",
    ]
    for life in result["memory_by_server_life"]:
        cells = [str(life[name]) for name in ("minutes", "first_warm_mib", "last_mib", "most_mib")]
        low, high = life["mib_per_hour_95"]
        lines.append(f"| {' | '.join(cells)} | {life['mib_per_hour']} ({low} to {high}) |")
    return "\n".join(lines)


def summary_of(result: dict[str, Any]) -> str:
    """One sentence without its full stop."""
    faults = result["faults_injected"]
    told = f"{faults - len(result['unlogged'])} of them told in the log"
    return f"{result['minutes']:.0f} minutes, {faults} faults, {told}, {result['stuck_screens']} stuck screens"
