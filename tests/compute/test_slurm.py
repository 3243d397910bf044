"""A build as a Slurm job: the script is what it says, bash reads it, and it is handed in by sbatch or not at all."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from shikomi.cli.main import run
from shikomi.compute.slurm import batch_script, slug, srun_words, submit
from shikomi.errors import MachineError, ShikomiError
from shikomi.recipe.launch import SlurmPage
from shikomi.recipe.site import load_site
from tests.docs.conftest import ROOT
from tests.e2e.tiny import write_recipe

PAGE = SlurmPage(
    nodes=4, gpus=8, cpus=32, time="36h", notice="90s", partition="gpu", account="lab",
    options=["--qos=long"], srun=["--container-image=x.sqsh"], setup=["module load cuda"],
)  # fmt: skip


def script(page: SlurmPage = PAGE, build: tuple[str, ...] = ("shikomi", "build", "my recipe.toml")) -> str:
    return batch_script(
        page, "小さな 試作", list(build), ["srun", "…"], Path("/shared/my work"), Path("/s/%j.log"), 29500
    )


def fake(folder: Path, name: str, body: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("#!/bin/bash\n" + body)
    (folder / name).chmod(0o755)


def on_path(folder: Path) -> str:
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def test_the_head_of_the_script_asks_for_what_the_site_says():
    found = re.findall(r"^#SBATCH (.+)$", script(), flags=re.MULTILINE)
    assert found == [
        "--job-name=shikomi-小さな-試作", "--nodes=4", "--ntasks-per-node=1", "--gpus-per-node=8", "--cpus-per-task=32",
        "--partition=gpu", "--account=lab", "--time=1-12:00:00", "--requeue", "--signal=B:USR1@90",
        '--output="/s/%j.log"', "--open-mode=append", "--qos=long",
    ]  # fmt: skip
    bare = re.findall(r"^#SBATCH (.+)$", script(SlurmPage(gpus=0)), flags=re.MULTILINE)
    assert not [line for line in bare if "gpus" in line or "partition" in line or "cpus" in line or "account" in line]


def test_the_body_knows_where_the_nodes_meet_and_bash_reads_it(tmp_path):
    text = script()
    assert "cd '/shared/my work'\nmodule load cuda\n" in text
    assert 'MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)' in text
    assert "shikomi build 'my recipe.toml' --rendezvous \"$MASTER_ADDR:$MASTER_PORT\" &" in text
    path = tmp_path / "job.sh"
    path.write_text(text)
    done = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_one_torchrun_is_started_on_each_node():
    assert srun_words(SlurmPage(nodes=4, srun=["--label"], container=["apptainer", "exec", "x.sif"])) == (
        "srun", "--nodes=4", "--ntasks=4", "--ntasks-per-node=1", "--kill-on-bad-exit=1", "--label",
        "apptainer", "exec", "x.sif",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("build", "signal", "code", "requeued"),
    [
        ("sleep 30 & trap 'kill %1; exit 0' USR1; touch ready; wait", "USR1", 0, True),  # a checkpoint was written
        ("sleep 30 & trap 'kill %1; exit 1' USR1; touch ready; wait", "USR1", 1, False),  # it failed
        ("touch ready; exec sleep 30", "USR1", 138, True),  # a data stage: it goes on by itself
        ("sleep 30 & trap 'kill %1; exit 0' TERM; touch ready; wait", "TERM", 0, False),  # cancelled by its user
        ("touch ready; exit 0", "", 0, False),  # done
    ],
)
def test_a_signal_goes_to_the_build_and_the_job_back_into_the_queue(build, signal, code, requeued, tmp_path):
    fake(
        tmp_path / "bin",
        "scontrol",
        f'case $1 in show) echo node1; echo node2;; *) echo "$@" > {tmp_path}/asked;; esac\n',
    )
    fake(tmp_path / "bin", "build", f'echo "$@" > {tmp_path}/words; cd {tmp_path}\n{build}\n')
    path = tmp_path / "job.sh"
    text = batch_script(SlurmPage(), "x", ["build", "r.toml"], ["srun"], tmp_path, tmp_path / "log", 29511)
    path.write_text(text)
    environment = {
        **os.environ,
        "PATH": on_path(tmp_path / "bin"),
        "SLURM_JOB_ID": "77",
        "SLURM_JOB_NODELIST": "node[1-2]",
    }
    job = subprocess.Popen(["bash", str(path)], env=environment)
    if signal:
        while not (tmp_path / "ready").exists():
            assert job.poll() is None
        subprocess.run(["kill", f"-{signal}", str(job.pid)], check=True)
    assert job.wait(60) == code
    assert (tmp_path / "words").read_text() == "r.toml --rendezvous node1:29511\n"
    assert (tmp_path / "asked").exists() == requeued
    if requeued:
        assert (tmp_path / "asked").read_text() == "requeue 77\n"


def test_a_script_is_handed_in_and_its_number_told(tmp_path, monkeypatch):
    fake(tmp_path / "bin", "sbatch", f'echo "$@" > {tmp_path}/asked; echo "4711;cluster"\n')
    monkeypatch.setenv("PATH", on_path(tmp_path / "bin"))
    path = tmp_path / "launch" / "x.sbatch"
    assert submit("#!/bin/bash\n", path) == "4711"
    assert (tmp_path / "asked").read_text() == f"--parsable {path}\n"
    assert path.read_text() == "#!/bin/bash\n"


def test_sbatch_that_is_missing_or_refuses_is_told_in_three_lines(tmp_path, monkeypatch):
    fake(tmp_path / "bin", "sbatch", 'echo "sbatch: error: invalid partition specified: gpu" >&2; exit 1\n')
    monkeypatch.setenv("PATH", on_path(tmp_path / "bin"))
    with pytest.raises(ShikomiError, match="invalid partition") as caught:
        submit("x", tmp_path / "x.sbatch")
    assert len(str(caught.value).splitlines()) == 3
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match="sbatch is not on this machine") as caught:
        submit("x", tmp_path / "y.sbatch")
    assert len(str(caught.value).splitlines()) == 3
    assert not (tmp_path / "y.sbatch").exists()


def test_a_dry_run_prints_the_script_and_touches_nothing(tmp_path, capsys, monkeypatch):
    recipe, store = write_recipe(tmp_path), tmp_path / "store"
    site = ROOT / "sites" / "slurm.toml"
    words = [
        "build",
        str(recipe),
        "--store",
        str(store),
        "--site",
        str(site),
        "--set",
        "sample.seed=3",
        "--until",
        "sft",
    ]
    assert run([*words, "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("#!/bin/bash\n")
    assert "#SBATCH --nodes=8" in text
    build = next(line for line in text.splitlines() if line.endswith("&"))
    assert f"{sys.executable} -m shikomi.cli.main build {recipe} --store {store} --set sample.seed=3" in build
    assert f"--site {site} --until sft --launch torchrun --rendezvous" in build
    ranks = next(line for line in text.splitlines() if line.startswith("#   srun"))
    assert "-m torch.distributed.run --nnodes=8 --rdzv-backend=c10d --rdzv-endpoint=$MASTER_ADDR:29500" in ranks
    assert "--nproc-per-node=8 --max-restarts=3 -m shikomi.cli.rank" in ranks
    assert not store.exists()
    fake(tmp_path / "bin", "sbatch", "echo 12\n")
    monkeypatch.setenv("PATH", on_path(tmp_path / "bin"))
    assert run(words) == 0
    assert "submitted: job 12" in capsys.readouterr().err
    assert (store / "launch" / "小さな-試作.sbatch").read_text() == text


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--launch", "slurm"], "the site file has no [slurm] page"),
        (["--launch", "torchrun", "--rendezvous", "a:1"], "the site file has no [slurm] page"),
        (["--dry-run"], "--dry-run needs --launch slurm"),
        (["--ranks", "2"], "--ranks needs --launch torchrun"),
        (
            ["--launch", "torchrun", "--ranks", "3", "--site", "{site}"],
            "the mesh (tensor 2) needs a multiple of 2 ranks",
        ),
        (["--site", "{site}"], "the mesh (tensor 2) needs a multiple of 2 ranks"),
    ],
)
def test_what_cannot_be_is_said_before_the_first_stage(words, what, tmp_path, capsys):
    recipe, site = write_recipe(tmp_path), tmp_path / "site.toml"
    site.write_text("[training.mesh]\ntensor = 2\n")
    words = [word.format(site=site) for word in words]
    assert run(["build", str(recipe), "--store", str(tmp_path / "store"), *words]) == 2
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith(f"error: {what}")
    assert len(told) == 3
    assert not (tmp_path / "store").exists()


def test_shipped_sites_are_read():
    site = load_site(ROOT / "sites" / "slurm.toml")
    assert (site.launch.kind, site.slurm and site.slurm.nodes, site.training.mesh.replicate) == ("slurm", 8, 8)
    assert load_site(ROOT / "sites" / "torchrun.toml").launch.kind == "torchrun"


def test_names_become_names_of_files():
    assert [slug(name) for name in ("a b/c", "小さな 試作", "..", "  ")] == ["a-b-c", "小さな-試作", "..", "build"]
