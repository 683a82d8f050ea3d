"""Where the page's model runs, in node: the user's choice, the messages, and failures of a GPU.

ONNX Runtime and the browser's WebGPU are replaced by fakes; test_web_gpu.py uses real ones.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[2] / "exporters" / "web" / "page"
NODE = shutil.which("node")

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.skipif(NODE is None, reason="node is not installed"),
]

LOG = """\
2026-01-01 [V:onnxruntime:, session_state.cc:1377 VerifyEachNodeIsAssignedToAnEp] Node placements
2026-01-01 [V:onnxruntime:, session_state.cc:1383 VerifyEachNodeIsAssignedToAnEp]  \
Node(s) placed on [WebGpuExecutionProvider]. Number of nodes: 3
2026-01-01 [V:onnxruntime:, session_state.cc:1385 VerifyEachNodeIsAssignedToAnEp]   Conv (a (1))
2026-01-01 [V:onnxruntime:, session_state.cc:1385 VerifyEachNodeIsAssignedToAnEp]   Cast (b)
2026-01-01 [V:onnxruntime:, session_state.cc:1385 VerifyEachNodeIsAssignedToAnEp]   \
MemcpyFromHost (Memcpy)
2026-01-01 [V:onnxruntime:, session_state.cc:1383 VerifyEachNodeIsAssignedToAnEp]  \
Node(s) placed on [CPUExecutionProvider]. Number of nodes: 3
2026-01-01 [V:onnxruntime:, session_state.cc:1385 VerifyEachNodeIsAssignedToAnEp]   Slice (c)
2026-01-01 [V:onnxruntime:, session_state.cc:1385 VerifyEachNodeIsAssignedToAnEp]   Slice (d)
2026-01-01 [V:onnxruntime:, session_state.cc:1385 VerifyEachNodeIsAssignedToAnEp]   Concat (e)
2026-01-01 [V:onnxruntime:, bfc_arena.cc:123 Something] Reserve (f)
"""

ALL_ON_GPU = """\
2026-01-01 [V:onnxruntime:, session_state.cc:1379 VerifyEachNodeIsAssignedToAnEp]  \
All nodes placed on [WebGpuExecutionProvider]. Number of nodes: 31
"""

ORT = """
// A fake ONNX Runtime with two logits: the first value less 100, and 0.001. Tests can set the GPU's
// logits. Opening a GPU session writes the log.
export const env = { wasm: {}, webgpu: {} };
globalThis.fake = { inside: 0, most: 0, log: "", gpuLogits: null, lose: null, fails: "" };
env.webgpu.device = {
  lost: new Promise((done) => (fake.lose = done)),
  adapterInfo: { vendor: "acme", architecture: "one", isFallbackAdapter: false },
};
export class Tensor {
  constructor(type, data, dims) {
    Object.assign(this, { type, data, dims });
  }
}
const pause = () => new Promise((done) => setTimeout(done, 2));
async function alone(task) {
  fake.most = Math.max(fake.most, ++fake.inside);
  await pause();
  fake.inside--;
  return task();
}
let error = null;
class Session {
  constructor(provider) {
    this.provider = provider;
  }
  run({ image }) {
    return alone(() => {
      if (this.provider === "webgpu") error("[I:onnxruntime:, webgpu_context.cc] Starting program");
      const logits = [image.data[0] - 100, 0.001];
      const found = this.provider === "webgpu" ? (fake.gpuLogits ?? logits) : logits;
      const code = found.reduce((byte, logit, bit) => byte | ((logit > 0) << (7 - bit)), 0);
      return { code: { data: Uint8Array.of(code) }, logit: { data: Float32Array.from(found) } };
    });
  }
}
export const InferenceSession = {
  create: (model, { executionProviders: [provider] }) =>
    alone(() => {
      error ??= console.error.bind(console); // kept from the first session on, as in the real one
      if (provider === "webgpu") {
        if (fake.fails) throw new Error(fake.fails);
        for (const line of fake.log.split("\\n")) error(line);
      }
      return new Session(provider);
    }),
};
"""

START = """
import "../runtime/ort.js";
import { Model } from "./model.js";
import { Runner } from "./runner.js";
import { GpuModel } from "./webgpu.js";

const logged = [];
console.error = (...words) => logged.push(words.join(" "));
globalThis.fetch = async () => new Response(new Uint8Array(1));
globalThis.isSecureContext = true;
const setGpu = (gpu) =>
  Object.defineProperty(globalThis, "navigator", { value: { gpu }, configurable: true });
setGpu({ requestAdapter: async () => ({}) });
const input = { height: 1, width: 1 };
const reports = [];
const runner = new Runner(
  (place, cpuModel) => (place === "webgpu" ? GpuModel.load(input, cpuModel) : Model.load(input)),
  (one) => reports.push(one),
);
const encode = async (value = 255) => (await runner.encode(Uint8Array.of(value, 0, 0))).place;
const answer = (value) => process.stdout.write(JSON.stringify(value));
"""


@pytest.fixture
def ask(tmp_path):
    """Run a script next to a copy of the page with a fake runtime; returns its answer."""
    folder = Path(shutil.copytree(PAGE, tmp_path / "page"))
    (tmp_path / "runtime").mkdir()
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "runtime" / "ort.js").write_text(ORT)

    def run(script: str) -> Any:
        (folder / "script.js").write_text(START + script)
        command = [str(NODE), str(folder / "script.js")]
        ended = subprocess.run(command, capture_output=True, timeout=60)
        assert ended.returncode == 0, ended.stderr.decode()
        return json.loads(ended.stdout)

    return run


def given_up(why: str) -> dict[str, Any]:
    line = f"The GPU {why} The model runs on the CPU."
    return {"place": "wasm", "line": line, "isProblem": True}


# The choice


def test_the_cpu_is_the_default(ask):
    places, reports = ask("""
    const places = [await encode()];
    await runner.choose("wasm");
    answer([places, reports]);
    """)
    assert places == ["wasm"]
    assert [one["line"] for one in reports] == [
        "Runs on the CPU. The codes are the same as in Python."
    ]


def test_the_gpu_is_used_if_chosen_and_its_placement_is_reported(ask):
    places, reports, logged = ask(f"""
    fake.log = {json.dumps(LOG)};
    await runner.choose("webgpu");
    const places = [await encode()];
    await runner.choose("wasm");
    places.push(await encode());
    answer([places, reports, logged]);
    """)
    assert places == ["webgpu", "wasm"]
    assert [(one["place"], one["isProblem"]) for one in reports] == [
        ("webgpu", False),
        ("webgpu", False),
        ("wasm", False),
    ]
    assert reports[0]["line"] == "Loading the model…"
    assert reports[1]["line"] == (
        "Runs on the GPU with WebGPU (acme one). 3 of 5 operators run on the CPU: Slice, "
        "Concat. Bits whose logit is close to 0 may differ from Python's."
    )
    assert logged == []


def test_a_revoked_choice_is_not_reported(ask):
    place, reports = ask("""
    const first = runner.choose("webgpu");
    await runner.choose("wasm");
    await first;
    answer([await encode(), reports]);
    """)
    assert place == "wasm"
    assert reports[-1]["place"] == "wasm"
    assert not any("with WebGPU" in one["line"] for one in reports)


def test_the_runtime_is_called_once_at_a_time(ask):
    most = ask("""
    const choosing = runner.choose("webgpu");
    await Promise.all([encode(), encode(), choosing, encode()]);
    answer(fake.most);
    """)
    assert most == 1


# Failures


@pytest.mark.parametrize(
    ("before", "why"),
    [
        ("setGpu(undefined)", "cannot be used: this browser has no WebGPU."),
        (
            "setGpu({ requestAdapter: async () => null })",
            "cannot be used: WebGPU found no graphics adapter.",
        ),
        (
            "globalThis.isSecureContext = false",
            "cannot be used: browsers offer WebGPU only to pages over HTTPS or from localhost.",
        ),
        ("fake.fails = 'no such kernel'", "cannot be used: no such kernel."),
        (
            "fake.gpuLogits = [50, 0.001]",
            "cannot be used: it computes incorrect codes: 1 of 2 bits of a test picture are wrong.",
        ),
    ],
)
def test_a_gpu_that_cannot_be_used_is_reported_once(before, why, ask):
    places, reports = ask(f"""
    {before};
    const choosing = runner.choose("webgpu");
    const places = await Promise.all([encode(), encode()]);
    await choosing;
    answer([places, reports]);
    """)
    assert places == ["wasm", "wasm"]
    assert reports[1:] == [given_up(why)]


def test_a_bit_with_a_logit_close_to_0_may_differ(ask):
    messages = ask("""
    const { checkOutputs } = await import("./webgpu.js");
    const expected = { codes: Uint8Array.of(0b11000000), logits: Float32Array.of(50, 0.4) };
    const tries = [0b11000000, 0b10000000, 0b01000000, 0b00000000].map((byte) => {
      try {
        checkOutputs({ codes: Uint8Array.of(byte) }, expected);
        return "";
      } catch (error) {
        return error.message;
      }
    });
    answer(tries);
    """)
    wrong = "it computes incorrect codes: 1 of 2 bits of a test picture are wrong."
    assert messages == ["", "", wrong, wrong]


def test_a_lost_gpu_is_reported_and_the_cpu_takes_over(ask):
    places, reports = ask("""
    await runner.choose("webgpu");
    const places = [await encode()];
    fake.lose({ reason: "unknown", message: "the driver was updated" });
    places.push(await encode(), await encode());
    answer([places, reports]);
    """)
    assert places == ["webgpu", "wasm", "wasm"]
    assert reports[2:] == [given_up("stopped: its device was lost (the driver was updated).")]


def test_a_gpu_can_be_chosen_again_after_a_failure(ask):
    places = ask("""
    fake.fails = "out of memory";
    await runner.choose("webgpu");
    const places = [await encode()];
    fake.fails = "";
    await runner.choose("webgpu");
    places.push(await encode());
    answer(places);
    """)
    assert places == ["wasm", "webgpu"]


def test_a_model_that_cannot_be_loaded_is_an_error_on_both_devices(ask):
    messages = ask("""
    globalThis.fetch = async () => new Response("", { status: 404 });
    const messages = [];
    for (const place of ["wasm", "webgpu"]) {
      await runner.choose(place).catch((error) => messages.push(error.message));
    }
    answer(messages);
    """)
    assert messages == ["model.onnx could not be fetched (status 404)."] * 2


# Placement of operators


def test_placements_are_read_from_the_log(ask):
    read, lines = ask(f"""
    const {{ readPlacement, placementLine }} = await import("./placement.js");
    const logs = [{json.dumps(LOG)}, {json.dumps(ALL_ON_GPU)}, "nothing of the kind"];
    const read = logs.map((log) => readPlacement(log.split("\\n")));
    answer([read, read.map(placementLine)]);
    """)
    assert read == [
        {"nOperators": 5, "onCpu": ["Slice", "Slice", "Concat"]},
        {"nOperators": 31, "onCpu": []},
        None,
    ]
    assert lines == [
        "3 of 5 operators run on the CPU: Slice, Concat.",
        "All 31 operators run there.",
        "It is not known which operators run on the CPU.",
    ]
