// Read from ONNX Runtime's log which operators of a session run on which device.

const GROUP = /nodes?(?:\(s\))? placed on \[(\w+)\]\. Number of nodes: (\d+)/i;
const OPERATOR = /VerifyEachNodeIsAssignedToAnEp\] +(\w+) \(/;
const COPY = /^Memcpy/; // inserted by the runtime, for copies between the devices

/**
 * Operators of a model, and those that a GPU session runs on the CPU.
 * @typedef {Object} Placement
 * @property {number} nOperators
 * @property {string[]} onCpu  Their types, for example `Slice`, one entry per operator.
 */

/**
 * Read a session's placement.
 * @param {string[]} lines  The runtime's verbose log.
 * @returns {Placement | null}  Null if the log does not contain it.
 */
export function readPlacement(lines) {
  const counts = new Map();
  const operators = new Map();
  let provider = null;
  for (const line of lines) {
    const group = GROUP.exec(line);
    const operator = OPERATOR.exec(line);
    if (group) {
      provider = group[1];
      counts.set(provider, Number(group[2]));
      operators.set(provider, []);
    } else if (operator && provider) operators.get(provider).push(operator[1]);
  }
  if (!counts.size) return null;
  const copies = [...operators.values()].flat().filter((type) => COPY.test(type)).length;
  const all = [...counts.values()].reduce((sum, count) => sum + count, 0);
  const onCpu = operators.get("CPUExecutionProvider") ?? [];
  return { nOperators: all - copies, onCpu: onCpu.filter((type) => !COPY.test(type)) };
}

/**
 * A placement as text for the page.
 * @param {Placement | null} placement
 */
export function placementLine(placement) {
  if (placement === null) return "It is not known which operators run on the CPU.";
  const { nOperators, onCpu } = placement;
  if (!onCpu.length) return `All ${nOperators} operators run there.`;
  const types = [...new Set(onCpu)].join(", ");
  return `${onCpu.length} of ${nOperators} operators run on the CPU: ${types}.`;
}
