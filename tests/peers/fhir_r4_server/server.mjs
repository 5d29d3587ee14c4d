// A strict FHIR R4 server for tests, in memory, on a free port of 127.0.0.1.
//
// Prints one line {"port": N} when it listens. Ends when its standard input is closed, so that it
// never outlives the test run.
//   /fhir/...         FHIR REST (Medplum's router), transactions, $validate
//   /control/reset    POST {resources, bearer, mostConditional}: forget everything, then seed
//   /control/log      GET: every FHIR exchange since the last reset
import http from "node:http";
import { getStatus, isOk, normalizeOperationOutcome } from "@medplum/core";
import { FhirRouter } from "@medplum/fhir-router";
import { FHIR_VERSION } from "./definitions.mjs";
import { StrictRepository } from "./repository.mjs";
import { transact } from "./transaction.mjs";
import { errorsOf, issue } from "./validation.mjs";

const BODY_TYPES = {
  "application/fhir+json": JSON.parse,
  "application/x-www-form-urlencoded": (text) => Object.fromEntries(new URLSearchParams(text)),
};
const router = new FhirRouter();
let repository, log, options;

async function reset({ resources = [], ...given } = {}) {
  [repository, log, options] = [new StrictRepository(), [], given];
  for (const resource of resources) await repository.createResource(resource);
}

function outcome(status, code, text) {
  const problem = issue(code, text, "Resource");
  return [status, { resourceType: "OperationOutcome", issue: [problem] }];
}

function capabilityStatement() {
  return {
    resourceType: "CapabilityStatement",
    status: "active",
    date: "2025-01-01",
    kind: "instance",
    fhirVersion: FHIR_VERSION,
    format: ["json"],
    implementation: { description: "strict test server" },
    rest: [{ mode: "server", interaction: [{ code: "transaction" }] }],
  };
}

function parsed(request, text) {
  const type = (request.headers["content-type"] ?? "").split(";")[0].trim();
  const parse = BODY_TYPES[type];
  if (!parse) return { refusal: outcome(415, "not-supported", "unsupported content type") };
  try {
    return { body: parse(text) };
  } catch {
    return { refusal: outcome(400, "structure", "the body cannot be parsed") };
  }
}

async function fhir(request, path, text) {
  if (path === "metadata") return [200, capabilityStatement()];
  if (options.bearer && request.headers.authorization !== `Bearer ${options.bearer}`) {
    return outcome(401, "login", "a token is needed");
  }
  const { body, refusal } = text ? parsed(request, text) : {};
  if (refusal) return refusal;
  if (request.method === "POST" && path === "") {
    return [200, await transact(body, repository, options.mostConditional)];
  }
  if (request.method === "POST" && path === "$validate") {
    return [200, { resourceType: "OperationOutcome", issue: errorsOf(body) }];
  }
  const routed = { method: request.method, url: path, pathname: "", params: {}, query: {} };
  const [result, resource] = await router.handleRequest(
    { ...routed, body, headers: request.headers },
    repository,
  );
  if (resource?.resourceType === "Bundle") {
    for (const entry of resource.entry ?? []) entry.search = { mode: "match" };
  }
  return [getStatus(result), isOk(result) && resource ? resource : result];
}

async function answered(request, text) {
  if (request.url === "/control/reset") return [200, await reset(JSON.parse(text || "{}"))];
  if (request.url === "/control/log") return [200, log];
  if (!/^\/fhir($|[/?])/.test(request.url)) return outcome(404, "not-found", "the base is /fhir");
  let answer;
  try {
    answer = await fhir(request, request.url.replace(/^\/fhir\/?/, ""), text);
  } catch (error) {
    const problem = normalizeOperationOutcome(error);
    answer = [getStatus(problem), problem];
  }
  const { method, url, headers } = request;
  log.push({ method, url, headers, body: text, status: answer[0] });
  return answer;
}

let queue = Promise.resolve(); // one request at a time: the store knows no isolation

const server = http.createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    queue = queue.then(async () => {
      const text = Buffer.concat(chunks).toString("utf8");
      let status, body;
      try {
        [status, body] = await answered(request, text);
      } catch (error) {
        [status, body] = [500, String(error)];
      }
      response.writeHead(status, { "content-type": "application/fhir+json" });
      response.end(JSON.stringify(body ?? null));
    });
  });
});

await reset();
server.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: server.address().port })));
process.stdin.resume().on("end", () => process.exit(0));
