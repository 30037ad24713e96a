//! Text and numbers as JSON.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyFloat, PyInt, PyString};
use serde::Serialize;
use serde_json::to_writer;

use super::once::intern;

/// Line boundaries for `str.splitlines`, and so for many clients, but not for JSON or server-sent events.
const SEPARATORS: [char; 3] = ['\u{85}', '\u{2028}', '\u{2029}'];

/// Write a str. Lone surrogates become U+FFFD.
pub fn write_text(text: &Bound<'_, PyString>, out: &mut Vec<u8>) -> PyResult<()> {
    match text.to_str() {
        Ok(text) => write_str(text, out),
        Err(_) => write_str(&without_surrogates(text)?, out),
    }
    Ok(())
}

/// A str as valid Unicode. Lone surrogates become U+FFFD.
#[cold]
pub fn without_surrogates(text: &Bound<'_, PyString>) -> PyResult<String> {
    // Lone surrogates have no UTF-8 form. Through UTF-16, pairs of them join as they do when JSON escapes are decoded.
    let py = text.py();
    let encoded = text.call_method1(intern!(py, "encode"), ("utf-16-le", "surrogatepass"))?;
    let bytes = encoded.cast::<PyBytes>().map_err(PyErr::from)?.as_bytes();
    let (units, _) = bytes.as_chunks::<2>();
    let units: Vec<u16> = units.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
    Ok(String::from_utf16_lossy(&units))
}

/// Write text.
pub fn write_str(text: &str, out: &mut Vec<u8>) {
    if !may_need_escapes(text.as_bytes()) {
        out.reserve(text.len() + 2);
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else if text.contains(SEPARATORS) {
        write_separated(text, out);
    } else {
        write_plain(text, out);
    }
}

/// Whether a byte needs an escape or may begin a separator. Checks many bytes at a time, without a branch for each.
fn may_need_escapes(text: &[u8]) -> bool {
    let (blocks, rest) = text.as_chunks::<32>();
    let (words, rest) = rest.as_chunks::<8>();
    // Built in a register: eight bytes that were stored one by one are slow to load as one word.
    let last = rest.iter().fold(each(b' '), |word, &byte| word << 8 | u64::from(byte));
    let in_block = |block: &[u8; 32]| {
        block.iter().fold(false, |found, &byte| {
            // 0xC2 and 0xE2 differ in one bit.
            found | (byte < b' ') | (byte == b'"') | (byte == b'\\') | (byte & 0xDF == 0xC2)
        })
    };
    blocks.iter().fold(false, |found, block| found | in_block(block))
        | words.iter().fold(false, |found, word| found | in_word(u64::from_ne_bytes(*word)))
        | in_word(last)
}

/// A word of eight copies of this byte.
const fn each(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// The same check for eight bytes in one word (Warren, Hacker's Delight, 6-1: find a zero byte).
fn in_word(word: u64) -> bool {
    let has_zero = |word: u64| word.wrapping_sub(each(1)) & !word & each(0x80);
    let below_space = word.wrapping_sub(each(b' ')) & !word & each(0x80);
    let quote = has_zero(word ^ each(b'"'));
    let backslash = has_zero(word ^ each(b'\\'));
    let separator = has_zero((word & each(0xDF)) ^ each(0xC2));
    below_space | quote | backslash | separator != 0
}

#[cold]
fn write_separated(text: &str, out: &mut Vec<u8>) {
    let mut json = Vec::with_capacity(text.len() + 16);
    write_plain(text, &mut json);
    for character in String::from_utf8_lossy(&json).chars() {
        if SEPARATORS.contains(&character) {
            out.extend_from_slice(format!("\\u{:04x}", u32::from(character)).as_bytes());
        } else {
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

/// `int.__repr__`, even if a subclass overrides it.
pub fn int_repr(number: &Bound<'_, PyInt>) -> PyResult<String> {
    let py = number.py();
    py.get_type::<PyInt>().call_method1(intern!(py, "__repr__"), (number,))?.extract()
}

/// A float as `json.dumps` writes it for a key.
pub fn float_key(number: &Bound<'_, PyFloat>) -> PyResult<String> {
    let value = number.value();
    if value.is_nan() {
        return Ok("NaN".to_owned());
    }
    if value.is_infinite() {
        return Ok(if value > 0.0 { "Infinity".to_owned() } else { "-Infinity".to_owned() });
    }
    let py = number.py();
    py.get_type::<PyFloat>().call_method1(intern!(py, "__repr__"), (number,))?.extract()
}

/// Write a number or text.
pub fn write_plain<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    // Neither writing to a `Vec` nor serializing these types can fail.
    let _ = to_writer(out, value);
}
