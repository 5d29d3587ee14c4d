// Is this resource R4? Medplum judges structure, cardinality, primitives and the invariants of
// resources; added here are patterns of primitives, required bindings, invariants of datatypes and
// reference targets.
import {
  OperationOutcomeError,
  evalFhirPathTyped,
  tryGetDataType,
  validateResource,
} from "@medplum/core";
import { PATTERNS, expansion } from "./definitions.mjs";

const PROFILE = "http://hl7.org/fhir/StructureDefinition/";
// ele-1 is judged by Medplum; ref-1 speaks of contained resources, which walk() cannot see.
const JUDGED_ELSEWHERE = new Set(["ele-1", "ref-1"]);

export function issue(code, diagnostics, path) {
  return { severity: "error", code, diagnostics, expression: [path] };
}

// All errors as OperationOutcome.issue[]; empty when the resource is valid.
export function errorsOf(resource) {
  const type = resource?.resourceType;
  if (!type || !tryGetDataType(type)) {
    return [issue("structure", `unknown resource type ${type}`, "Resource")];
  }
  const errors = structuralErrors(resource);
  walk(resource, type, type, { type, value: resource }, errors);
  return errors;
}

function structuralErrors(resource) {
  try {
    validateResource(resource);
    return [];
  } catch (error) {
    if (!(error instanceof OperationOutcomeError)) throw error;
    return error.outcome.issue
      .filter(({ severity }) => severity === "error")
      .map(({ code, details, diagnostics, expression }) =>
        issue(code, diagnostics ?? details?.text, expression?.[0] ?? resource.resourceType),
      );
  }
}

// Visits every element that the schema knows, with its declared type.
function walk(value, typeName, path, root, errors) {
  const schema = tryGetDataType(typeName);
  if (!schema || typeof value !== "object" || value === null) return;
  for (const [name, element] of Object.entries(schema.elements)) {
    for (const { key, type } of spellings(name, element)) {
      const found = value[key];
      if (found === undefined) continue;
      const items = Array.isArray(found) ? found : [found];
      items.forEach((item, index) => {
        const place = `${path}.${key}${Array.isArray(found) ? `[${index}]` : ""}`;
        visit(item, element, type, place, root, errors);
      });
    }
  }
}

function spellings(name, element) {
  if (!name.endsWith("[x]")) return [{ key: name, type: element.type[0] }];
  const stem = name.slice(0, -3);
  return element.type.map((type) => ({
    key: stem + type.code[0].toUpperCase() + type.code.slice(1),
    type,
  }));
}

function visit(item, element, type, place, root, errors) {
  if (item === null || !type) return;
  if (PATTERNS.get(type.code)?.test(String(item)) === false) {
    errors.push(issue("value", `not a ${type.code}`, place));
  }
  checkBinding(item, element.binding, type.code, place, errors);
  if (type.code === "Reference") checkTarget(item, type.targetProfile, place, errors);
  if (typeof item !== "object") return;
  if (item.resourceType) {
    walk(item, item.resourceType, place, { type: item.resourceType, value: item }, errors);
    return;
  }
  checkInvariants(item, type.code, place, root, errors);
  walk(item, type.code, place, root, errors);
}

function checkBinding(item, binding, type, place, errors) {
  if (binding?.strength !== "required" || !binding.valueSet) return;
  const members = expansion(binding.valueSet);
  if (!members) return;
  const has = ({ system, code }) => members.has(`${system}|${code}`);
  const isMember =
    typeof item === "string"
      ? [...members].some((member) => member.slice(member.lastIndexOf("|") + 1) === item)
      : type === "Coding"
        ? !item.code || has(item)
        : type !== "CodeableConcept" || !item.coding?.length || item.coding.some(has);
  if (!isMember) errors.push(issue("code-invalid", `not in ${binding.valueSet}`, place));
}

function checkTarget(reference, profiles, place, errors) {
  if (!profiles || profiles.includes(`${PROFILE}Resource`)) return;
  const literal = /^([A-Z][A-Za-z]+)\/[^/]+$/.exec(reference.reference ?? "")?.[1];
  for (const type of [literal, reference.type]) {
    if (type && !profiles.includes(PROFILE + type)) {
      errors.push(issue("structure", `a reference to ${type} is not allowed here`, place));
    }
  }
  if (literal && reference.type && literal !== reference.type) {
    errors.push(issue("value", `type ${reference.type} refers to a ${literal}`, place));
  }
}

function checkInvariants(value, typeName, place, root, errors) {
  const typed = { type: typeName, value };
  const variables = { "%context": typed, "%resource": root, "%rootResource": root };
  for (const { key, severity, expression } of tryGetDataType(typeName)?.constraints ?? []) {
    if (severity !== "error" || JUDGED_ELSEWHERE.has(key)) continue;
    const result = evalFhirPathTyped(expression, [typed], variables);
    if (result.length !== 1 || result[0].value !== true) {
      errors.push(issue("invariant", `${key} does not hold`, place));
    }
  }
}
