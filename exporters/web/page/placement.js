// Which operators of a session run where, read from what ONNX Runtime logs when it makes one.

const GROUP = /nodes?(?:\(s\))? placed on \[(\w+)\]\. Number of nodes: (\d+)/i;
const OPERATOR = /VerifyEachNodeIsAssignedToAnEp\] +(\w+) \(/;
const COPY = /^Memcpy/; // put in by the runtime itself, between the two

/**
 * Operators of a model, and those of them that a GPU's session leaves to the processor.
 * @typedef {Object} Placement
 * @property {number} nOperators
 * @property {string[]} onProcessor  Their types, for example `Slice`, one entry an operator.
 */

/**
 * Read a session's placement.
 * @param {string[]} lines  The runtime's log, verbose.
 * @returns {Placement | null}  Null if the log does not tell.
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
  const onProcessor = operators.get("CPUExecutionProvider") ?? [];
  return { nOperators: all - copies, onProcessor: onProcessor.filter((type) => !COPY.test(type)) };
}

/**
 * A placement as a sentence.
 * @param {Placement | null} placement
 */
export function placementLine(placement) {
  if (placement === null) return "Which operators run on the processor is not known.";
  const { nOperators, onProcessor } = placement;
  if (!onProcessor.length) return `All ${nOperators} operators run there.`;
  const types = [...new Set(onProcessor)].join(", ");
  return `${onProcessor.length} of ${nOperators} operators run on the processor: ${types}.`;
}
