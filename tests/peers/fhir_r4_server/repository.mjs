// Medplum's in-memory repository, made strict: nothing invalid is stored, references must lead
// somewhere, unknown search parameters are refused, and a failed transaction leaves no trace.
import { OperationOutcomeError, badRequest, globalSchema } from "@medplum/core";
import { MemoryRepository } from "@medplum/fhir-router";
import { errorsOf, issue } from "./validation.mjs";

const ALWAYS_SEARCHABLE = new Set(["_id", "_lastUpdated"]);

export function refuse(issues, id) {
  throw new OperationOutcomeError({ resourceType: "OperationOutcome", id, issue: issues });
}

export class StrictRepository extends MemoryRepository {
  written = null; // resources of the running transaction, whose references are checked at its end

  async createResource(resource, options) {
    const errors = errorsOf(resource);
    if (errors.length) refuse(errors);
    if (this.written) {
      this.written.push(resource);
    } else {
      this.checkReferences(resource);
    }
    return super.createResource(resource, options);
  }

  async search(request) {
    const known = globalSchema.types[request.resourceType]?.searchParams ?? {};
    for (const { code } of request.filters ?? []) {
      if (!(code in known) && !ALWAYS_SEARCHABLE.has(code)) {
        throw new OperationOutcomeError(badRequest(`unknown search parameter ${code}`));
      }
    }
    return super.search(request);
  }

  async withTransaction(work) {
    if (this.written) return work(undefined);
    const before = [copied(this.resources), copied(this.history)];
    this.written = [];
    try {
      const result = await work(undefined);
      this.written.forEach((resource) => this.checkReferences(resource));
      return result;
    } catch (error) {
      restore(this.resources, before[0]);
      restore(this.history, before[1]);
      throw error;
    } finally {
      this.written = null;
    }
  }

  checkReferences(resource) {
    const errors = [];
    for (const [reference, path] of literalReferences(resource, resource.resourceType)) {
      const [type, id] = reference.split("/");
      if (/^https?:/.test(reference) || this.resources.get(type)?.has(id)) continue;
      errors.push(issue("not-found", `${reference} leads nowhere`, path));
    }
    if (errors.length) refuse(errors);
  }
}

function* literalReferences(value, path) {
  if (typeof value !== "object" || value === null) return;
  if (typeof value.reference === "string") yield [value.reference, path];
  for (const [key, child] of Object.entries(value)) {
    yield* literalReferences(child, Array.isArray(value) ? `${path}[${key}]` : `${path}.${key}`);
  }
}

function copied(map) {
  return new Map(
    [...map].map(([type, byId]) => [
      type,
      new Map([...byId].map(([id, kept]) => [id, Array.isArray(kept) ? [...kept] : kept])),
    ]),
  );
}

function restore(map, saved) {
  map.clear();
  saved.forEach((value, key) => map.set(key, value));
}
