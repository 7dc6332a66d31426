/** The value at a path such as `package.authors.0`; undefined when there is none. */
export function pick(value, path) {
  const own = (current, key) =>
    current !== null && typeof current === "object" && Object.hasOwn(current, key)
      ? current[key]
      : undefined;
  return path.split(".").filter(Boolean).reduce(own, value);
}
