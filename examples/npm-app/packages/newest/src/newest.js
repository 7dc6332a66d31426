import semver from "semver";

/** The newest of the versions that satisfy a range, undefined when none does. */
export function newest(versions, range) {
  return semver.maxSatisfying(versions.filter(semver.valid), range) ?? undefined;
}
