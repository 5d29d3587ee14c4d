// A transaction of (conditional) creates and updates, as R4 http.html#transaction describes it: identities first, then references
// rewritten (conditional ones to what matches), then everything or nothing.
import { isDeepStrictEqual } from "node:util";
import {
  OperationOutcomeError,
  badRequest,
  multipleMatches,
  parseSearchRequest,
  preconditionFailed,
} from "@medplum/core";
import { issue, errorsOf } from "./validation.mjs";
import { refuse } from "./repository.mjs";

// mostConditional: refuse Bundles with more entries than this when one of them is conditional,
// as some servers do; 0 for no limit.
export async function transact(bundle, repository, mostConditional) {
  checkBundle(bundle, mostConditional);
  return repository.withTransaction(async () => {
    const plans = [];
    for (const entry of bundle.entry) plans.push(await planned(entry, repository));
    const targets = new Map(plans.map(({ fullUrl, target }) => [fullUrl, target]));
    const entries = [];
    for (const { resource } of plans) await resolveConditional(resource, targets, repository);
    for (const plan of plans) entries.push(await carriedOut(plan, targets, repository));
    return { resourceType: "Bundle", type: "transaction-response", entry: entries };
  });
}

function checkBundle(bundle, mostConditional) {
  const entries = bundle.entry ?? [];
  const errors = errorsOf(bundle);
  if (bundle.type !== "transaction" || !entries.length) {
    errors.push(issue("value", "not a transaction", "Bundle.type"));
  }
  entries.forEach(({ fullUrl, resource, request }, index) => {
    const path = `Bundle.entry[${index}].request`;
    const places = {
      POST: resource?.resourceType,
      PUT: `${resource?.resourceType}/${resource?.id}`,
    };
    if (!places[request?.method]) errors.push(issue("not-supported", "only POST and PUT", path));
    else if (request.url !== places[request.method] && !isConditionalUpdate(request)) {
      errors.push(issue("value", "not the type, or not the id", path));
    }
    if (!/^urn:uuid:[0-9a-f-]{36}$/.test(fullUrl)) {
      errors.push(issue("value", "not a urn:uuid", `Bundle.entry[${index}].fullUrl`));
    }
  });
  const conditions = entries.map(({ request }) => conditionOf(request)).filter(Boolean);
  if (new Set(conditions).size !== conditions.length) {
    errors.push(issue("duplicate", "two entries with one condition", "Bundle.entry"));
  }
  if (mostConditional && conditions.length && entries.length > mostConditional) {
    errors.push(issue("too-costly", "too many entries beside a conditional one", "Bundle.entry"));
  }
  if (errors.length) refuse(errors);
}

async function planned({ fullUrl, resource, request }, repository) {
  if (isConditionalUpdate(request)) {
    const held = await matching(request.url, repository);
    const id = held?.id ?? repository.generateId();
    return { fullUrl, resource, held, id, target: `${resource.resourceType}/${id}` };
  }
  if (request.method === "PUT") {
    const held = repository.resources.get(resource.resourceType)?.get(resource.id);
    checkVersion(request.ifMatch, held);
    return { fullUrl, resource, held, id: resource.id, target: request.url };
  }
  const existing = request.ifNoneExist && (await matching(conditionOf(request), repository));
  const id = existing?.id ?? repository.generateId();
  return { fullUrl, resource, existing, id, target: `${request.url}/${id}` };
}

function checkVersion(ifMatch, held) {
  if (ifMatch && ifMatch !== `W/"${held?.meta.versionId}"`) {
    throw new OperationOutcomeError(preconditionFailed);
  }
}

function isConditionalUpdate(request) {
  return request?.method === "PUT" && request.url.includes("?");
}

function conditionOf(request) {
  if (isConditionalUpdate(request)) return request.url;
  return request?.ifNoneExist && `${request.url}?${request.ifNoneExist}`;
}

async function matching(condition, repository) {
  if (!/^[A-Z][A-Za-z]+\?identifier=[^|]+(\||%7C)[^|]+$/.test(condition)) {
    throw new OperationOutcomeError(badRequest("a condition is no search by identifier"));
  }
  const found = await repository.searchResources(parseSearchRequest(condition));
  if (found.length > 1) throw new OperationOutcomeError(multipleMatches);
  return found[0];
}

async function resolveConditional(value, targets, repository) {
  if (typeof value !== "object" || value === null) return;
  const { reference } = value;
  if (typeof reference === "string" && reference.includes("?") && !targets.has(reference)) {
    const found = await matching(reference, repository);
    if (!found) throw new OperationOutcomeError(badRequest(`${reference} matches nothing`));
    targets.set(reference, `${found.resourceType}/${found.id}`);
  }
  for (const child of Object.values(value)) await resolveConditional(child, targets, repository);
}

async function carriedOut({ resource, existing, held, id }, targets, repository) {
  const wanted = { ...rewritten(resource, targets), id };
  // An update that changes nothing makes no new version.
  if (held && isDeepStrictEqual(content(held), content(wanted))) existing = held;
  const kept = existing ?? (await repository.createResource(wanted));
  const { versionId, lastUpdated } = kept.meta;
  return {
    response: {
      status: existing ? "200 OK" : "201 Created",
      location: `${kept.resourceType}/${kept.id}/_history/${versionId}`,
      etag: `W/"${versionId}"`,
      lastModified: lastUpdated,
    },
  };
}

// Without what the server keeps about a version.
function content({ meta, ...rest }) {
  const { versionId, lastUpdated, ...ours } = meta ?? {};
  return { ...rest, meta: ours };
}

function rewritten(resource, targets) {
  return JSON.parse(JSON.stringify(resource), (key, value) =>
    key === "reference" ? (targets.get(value) ?? value) : value,
  );
}
