"""A sweep from beginning to end: candidates, the choice on val, what is reported, and test, opened once.

In: a plan, and main.py as a `Program`. Out: finished runs and protocol.json; a call after an interruption goes on from
what is there.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from wsol.core.errors import InputError
from wsol.core.locks import is_locked
from wsol.core.options import AUTO, Option
from wsol.data.levels import finest_level
from wsol.data.metadata import dataset_folder
from wsol.data.truth import PSEUDO, SplitTruth
from wsol.runs.open_test import TEST
from wsol.runs.results import read_run
from wsol.runs.run_data import read_level
from wsol.runs.run_folder import CONFIG, RESULTS
from wsol.runs.run_record import earlier_record
from wsol.sweeps.cluster import run_on_cluster
from wsol.sweeps.executors import BUSY, Job, run_here
from wsol.sweeps.plan import Plan, PlannedRun, check_names, to_words
from wsol.sweeps.protocol import Candidate, Protocol, check_recorded, open_protocol
from wsol.sweeps.states import State, check_options, has_results, state_of

LOGS = "logs"
FROM_OTHER_RUNS = ("pretrained_path", "thresholds_from")  # options that may name a file of a run not finished yet
WAIT_SECONDS = 1.0


@dataclass(frozen=True)
class Program:
    """main.py and its companion, as a sweep sees them.

    configure: the words of a command line to the whole checked configuration. read_config: a run's folder to its
    configuration. options: its table. root: the checkout. train, open_test: the modules that are run.
    """

    configure: Callable[[Sequence[str]], Mapping[str, Any]]
    read_config: Callable[[Path], Mapping[str, Any]]
    options: Mapping[str, Option]
    root: Path
    log_root: Path
    train: str = "main"
    open_test: str = "scripts.open_test"

    @property
    def defaults(self) -> dict[str, Any]:
        """Name to default of every option."""
        return {name: option.initial for name, option in self.options.items()}


@dataclass
class Outcome:
    """What a call did: runs trained, runs skipped since they were finished, and runs that failed, with the reason."""

    trained: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    opened: list[str] = field(default_factory=list)


class Sweep:
    """A plan with its folder; the caller holds the folder's lock while it conducts the sweep."""

    def __init__(self, plan: Plan, program: Program, say: Callable[[str], None]):
        self.plan, self.program, self.say = plan, program, say
        self.folder, self.where = plan.folder, plan.spec.run
        self.outcome = Outcome()

    def log(self, run: str) -> Path:
        """Return the file with what a run printed, which is also its lock."""
        return self.folder / LOGS / f"{run}.txt"

    def words(self, run: PlannedRun) -> list[str]:
        """Return the words after `python main.py` of a run."""
        name = str((self.folder / run.name).relative_to(self.program.log_root))
        own = {"eval_test": False, "threads": self.where.threads, "experiment_name": name}
        return to_words({"calibrate": False, **run.options, **own})  # most runs of a sweep never see a new photo

    def state(self, run: PlannedRun) -> State:
        """Return the state of a run, checked to be this run.

        Raises:
            InputError: its folder holds something else, or its options are invalid.
        """
        folder = self.folder / run.name
        state = state_of(folder, is_locked(self.log(run.name)))
        words = self.words(run if run.needs is None else _without(run, FROM_OTHER_RUNS))
        config = {**self.program.configure(words), **{name: run.options.get(name) for name in FROM_OTHER_RUNS if run.needs}}
        if config.get("label_level") is None and not config["coarsening"]:  # main.py records the level that it stands for
            config["label_level"] = finest_level(dataset_folder(config["metadata_root"], config["dataset_name"]))
        if (folder / CONFIG).is_file():
            saved = self.program.read_config(folder)
            name = saved.get("experiment_name")
            if name != config["experiment_name"]:
                raise InputError(f"{folder} is a copy of the run {name}; expected each run in its own folder")
            check_options(folder, config, saved, self.program.defaults)
        return state

    def conduct(self, allow_reuse: bool = False) -> Outcome:
        """Run what is not finished, choose, open test; return what was done. Failed runs stop what depends on them."""
        plan = self.plan
        candidates = {point.name: plan.candidates(point) for point in plan.points}
        every = [run for runs in candidates.values() for run in runs]
        for run in every:  # every folder is checked before anything starts
            self.state(run)
        present = self.present()
        budgets = {point.name: self.budget(candidates[point.name][0]) for point in plan.points if candidates[point.name]}
        for name, budget in budgets.items():
            self.check_figure(candidates[name][0], budget)
        protocol = self.protocol(is_new=not present)
        check_recorded(self.folder, present, protocol)
        protocol.check_results()
        protocol.write()
        self.run(every)
        chosen: dict[str, Mapping[str, Any]] = {}
        reported: list[PlannedRun] = []
        for point in plan.points:
            if any(run.name in self.outcome.failed for run in candidates[point.name]):
                self.say(f"{point.name}: nothing is chosen, since candidates failed")
                continue
            chosen[point.name] = {}
            if candidates[point.name]:
                chosen[point.name] = self.choose(
                    protocol, point.name, candidates[point.name], budgets[point.name], allow_reuse
                )
            reported += plan.reported(point, chosen[point.name])
        check_names([*every, *reported])
        undecided = {point.name for point in plan.points} - set(chosen)
        protocol.report({run.name: run.point for run in reported}, undecided)
        self.run([run for run in reported if run.needs is None])
        self.run([run for run in reported if run.needs is not None and run.needs not in self.outcome.failed])
        self.open_test(protocol, reported, chosen)
        return self.outcome

    def protocol(self, is_new: bool) -> Protocol:
        """Return the sweep's record."""
        spec = self.plan.spec
        return open_protocol(self.folder, spec.name, spec.tree, self.plan.levels_alike, self.program.options, is_new)

    def present(self) -> list[str]:
        """Return the names of all runs in the sweep's folder, planned or not."""
        return sorted({path.parent.name for file in (CONFIG, RESULTS) for path in self.folder.glob(f"*/{file}")})

    @property
    def figure(self) -> str:
        """The figure on val that decides; nothing asks for it where nothing is chosen."""
        return self.plan.spec.choose.figure if self.plan.spec.choose else ""

    def choose(
        self,
        protocol: Protocol,
        point: str,
        candidates: Sequence[PlannedRun],
        budget: Mapping[str, int],
        allow_reuse: bool,
    ) -> Mapping[str, Any]:
        """Return the options that val prefers for a point."""
        found = []
        for run in candidates:
            value = read_run(self.folder / run.name).split("val").value(self.figure)
            found.append(Candidate(run.name, run.chosen or {}, value))
        best = protocol.choose(point, found, self.figure, budget, allow_reuse)
        boxes = " (pseudo boxes)" if candidates[0].options.get("select_on") == PSEUDO else ""
        self.say(f"{point}: {best.run} has the best {self.figure} on val{boxes}, {best.value:.2f}")
        return best.options

    def check_figure(self, run: PlannedRun, budget: Mapping[str, int]) -> None:
        """Raise InputError if val cannot have the figure by which a candidate is to be compared."""
        truth = "masks" if self.figure == "PxAP" else "boxes"
        pseudo = truth == "boxes" and run.options.get("select_on") == PSEUDO  # which `budget` has found
        if self.figure != "top1_cls" and not (budget[f"fullsup_{truth}"] or pseudo):
            dataset = run.options.get("dataset_name", self.program.defaults["dataset_name"])
            path = self.plan.spec.path
            raise InputError(f"{path}: choose.figure: {self.figure} needs {truth}, and val of {dataset} has none")

    def budget(self, run: PlannedRun) -> dict[str, int]:
        """Return how many images, boxes and masks of train-fullsup a choice may use."""
        config = self.program.configure(self.words(run))
        ids = read_level(config, ("val",)).splits["val"].image_ids
        boxes, masks = SplitTruth.of(config, "val", ids, needs_truth=False).count()
        return {"fullsup_images": len(ids), "fullsup_boxes": boxes, "fullsup_masks": masks}

    def run(self, runs: Sequence[PlannedRun]) -> None:
        """Run what is not finished, and again what fails, as often as the spec says."""
        waiting = []
        for run in runs:
            if self.state(run).is_finished:
                if run.name not in (*self.outcome.trained, *self.outcome.skipped):  # a candidate is reported too
                    self.outcome.skipped.append(run.name)
            else:
                waiting.append(run)
        left = self.where.retries
        while waiting:
            begun = {run.name: self.times_continued(run) for run in waiting}
            jobs = [self.training(run) for run in waiting]
            failed = {name: reason for name, reason in self.ended(jobs) if reason}
            self.outcome.trained += [run.name for run in waiting if run.name not in failed]
            waiting = [run for run in waiting if run.name in failed]
            # A run that is refused, or dies, before it goes on leaves the record of its last part, perhaps "checkpointed".
            went_on = [run for run in waiting if self.times_continued(run) != begun[run.name]]
            checkpointed = [run for run in went_on if self.state(run).name == "checkpointed"]
            if len(checkpointed) < len(waiting):
                left -= 1
            if left < 0:  # what a signal stopped did not fail
                failed = {run.name: failed[run.name] for run in waiting if run not in checkpointed}
                self.outcome.failed |= failed
                waiting = checkpointed
            if waiting:
                self.say(f"{len(waiting)} did not finish and are taken up again")

    def times_continued(self, run: PlannedRun) -> int | None:
        """Return how often a run has been continued, None if it has not begun; every part of it adds one."""
        record = earlier_record(self.folder / run.name)
        return int(record.get("continued", 0)) if record else None

    def training(self, run: PlannedRun) -> Job:
        """Return the job that trains a run, or goes on with it."""
        words = [*self.words(run), "--resume", AUTO]
        job = self.job(run.name, self.program.train, words, self.folder / run.name / RESULTS)
        return replace(job, processes=self.where.processes)

    def job(self, name: str, module: str, words: Sequence[str], result: Path | None = None) -> Job:
        """Return a job with the spec's number of threads."""
        return Job(name, module, words, self.log(name), {"OMP_NUM_THREADS": str(self.where.threads)}, result)

    def ended(self, jobs: Sequence[Job]) -> Iterator[tuple[str, str]]:
        """Run jobs and yield (run, why it failed, "" if it did not) as they end."""
        if not jobs:
            return
        if self.where.submitit:
            folder, root = self.folder / "submitit", self.program.root
            ended = run_on_cluster(jobs, folder, self.where.submitit, root, self.where.jobs)
        else:
            modules = list(dict.fromkeys(job.module for job in jobs))
            ended = run_here(jobs, self.where.jobs, modules, self.program.root, self.where.gpus)
        is_test = jobs[0].module == self.program.open_test
        self.say(
            f"{len(jobs)} runs to {'evaluate on test' if is_test else 'train'}; {self.folder / LOGS} has what they print"
        )
        began = time.monotonic()
        for done, (job, code) in enumerate(ended, 1):
            reason = self.reason(job, code)
            seconds = time.monotonic() - began
            what = f"failed: {reason}" if reason else "evaluated on test" if is_test else "trained"
            self.say(f"[{done}/{len(jobs)}, {seconds:.0f} s] {job.name}: {what}")
            yield job.name, reason

    def reason(self, job: Job, code: int) -> str:
        """Return why a job failed, "" if it did not."""
        if code == 0:
            return ""
        if code == BUSY:
            self.say(f"{job.name}: another process is at it; waiting")
        while is_locked(job.log):
            time.sleep(WAIT_SECONDS)
        if self.is_done(job):
            return ""
        if code == BUSY:
            return "the process that was at it did not finish it"
        lines = printed(job.log)
        return f"{last_error(lines) or (lines or ['it printed nothing'])[-1]} (exit code {code})"

    def is_done(self, job: Job) -> bool:
        """Return whether a job has left what it was to do: a finished run, or its results of test."""
        run = self.folder / job.name
        return has_results(run) and (job.module != self.program.open_test or TEST in read_run(run).splits)

    def open_test(self, protocol: Protocol, reported: Sequence[PlannedRun], chosen: Mapping[str, Mapping[str, Any]]) -> None:
        """Evaluate on test what is reported and finished, each run once; the intent is recorded before."""
        if self.outcome.failed:
            self.say("test stays closed until nothing fails")
            return
        seeds = {run.name: run.options["seed"] for run in reported}
        left = protocol.intend(seeds, chosen)
        jobs = []
        for run in seeds:
            if TEST not in read_run(self.folder / run).splits:  # also one that was lost and trained to the same checkpoint
                jobs.append(self.job(run, self.program.open_test, [str(self.folder / run)]))
            elif run in left:  # killed between the evaluation and its record
                protocol.opened(run)
                self.outcome.opened.append(run)
        for run, reason in self.ended(jobs):
            if reason:
                self.outcome.failed[run] = reason
            else:
                protocol.opened(run)
                self.outcome.opened.append(run)


def printed(log: Path) -> list[str]:
    """Return the lines that a run has printed; none if it never ran."""
    return log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []


def last_error(lines: Sequence[str]) -> str:
    """Return the last error among the lines that a run printed; "" if there is none."""
    return next((line.removeprefix("error: ") for line in reversed(lines) if line.startswith("error: ")), "")


def _without(run: PlannedRun, names: Sequence[str]) -> PlannedRun:
    return PlannedRun(run.name, {k: v for k, v in run.options.items() if k not in names}, run.point, run.needs, run.chosen)
