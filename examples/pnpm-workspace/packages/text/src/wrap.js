import stringWidth from "string-width";

/** Break a paragraph into lines of at most `columns` terminal columns, where words allow it. */
export function wrap(paragraph, columns) {
  const lines = [];
  let line = "";
  for (const word of paragraph.split(/\s+/u).filter(Boolean)) {
    const longer = line ? `${line} ${word}` : word;
    if (line && stringWidth(longer) > columns) {
      lines.push(line);
      line = word;
    } else {
      line = longer;
    }
  }
  return line ? [...lines, line] : lines;
}
