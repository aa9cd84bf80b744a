// Writes zip files, as the appnote of PKWARE describes them: every file as it is, not compressed.

const TIME = 0x0021 << 16; // 1 January 1980, the earliest there is: the same content gives the same bytes
const UTF8 = 0x0800; // of the flags: names are UTF-8

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

function crc32(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) value = TABLE[(value ^ byte) & 0xff] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}

/** Numbers, little-endian: [bytes that it takes, number] each. */
function packed(...numbers) {
  const bytes = [];
  for (const [width, number] of numbers) {
    for (let at = 0; at < width; at += 1) bytes.push((number >>> (8 * at)) & 0xff);
  }
  return Uint8Array.from(bytes);
}

/** The bytes of a zip file. `files`: [name, text] each. */
export function zip(files) {
  const encoder = new TextEncoder();
  const [parts, directory] = [[], []];
  let [offset, listed] = [0, 0];
  for (const [name, text] of files) {
    const [path, content] = [encoder.encode(name), encoder.encode(text)];
    const facts = [[2, 20], [2, UTF8], [2, 0], [4, TIME], [4, crc32(content)], [4, content.length], [4, content.length], [2, path.length], [2, 0]];
    const local = [packed([4, 0x04034b50], ...facts), path, content];
    const entry = [packed([4, 0x02014b50], [2, 20], ...facts, [2, 0], [2, 0], [2, 0], [4, 0], [4, offset]), path];
    parts.push(...local);
    directory.push(...entry);
    offset += length(local);
    listed += length(entry);
  }
  const end = packed([4, 0x06054b50], [2, 0], [2, 0], [2, files.length], [2, files.length], [4, listed], [4, offset], [2, 0]);
  return joined([...parts, ...directory, end]);
}

const length = (parts) => parts.reduce((sum, part) => sum + part.length, 0);

function joined(parts) {
  const whole = new Uint8Array(length(parts));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
