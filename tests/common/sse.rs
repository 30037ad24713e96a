//! A parser of event streams as WHATWG HTML, 9.2.6, prescribes it, but strict: what a browser would silently skip, and
//! an event that the end of the stream cuts off, is an error here.

use std::str;

/// An event as a browser dispatches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispatched {
    /// `message` unless the stream names another.
    pub kind: String,
    /// The data, without the line end behind it.
    pub data: String,
    /// The last event id at that moment: that of this event, or of an earlier one.
    pub last_event_id: String,
}

/// Parse a stream.
pub fn parse(stream: &[u8]) -> Result<Vec<Dispatched>, String> {
    let text = str::from_utf8(stream).map_err(|error| error.to_string())?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut kind, mut data, mut last_event_id) = (String::new(), String::new(), String::new());
    let mut dispatched = Vec::new();
    for line in lines(text)? {
        if line.is_empty() {
            let Some(whole) = data.strip_suffix('\n') else { return Err("an event without data".to_owned()) };
            let kind = if kind.is_empty() { "message".to_owned() } else { std::mem::take(&mut kind) };
            dispatched.push(Dispatched { kind, data: whole.to_owned(), last_event_id: last_event_id.clone() });
            data.clear();
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => {}
            "event" => value.clone_into(&mut kind),
            "data" => data.extend([value, "\n"]),
            "id" if !value.contains('\0') => value.clone_into(&mut last_event_id),
            _ => return Err(format!("a browser ignores the line {line:?}")),
        }
    }
    if kind.is_empty() && data.is_empty() { Ok(dispatched) } else { Err("an event that is cut off".to_owned()) }
}

/// The lines of a text, which end in CR LF, LF or CR.
fn lines(text: &str) -> Result<Vec<&str>, String> {
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(['\r', '\n']).ok_or("a line that is cut off")?;
        let (line, behind) = rest.split_at(end);
        lines.push(line);
        rest = behind.strip_prefix("\r\n").or_else(|| behind.get(1..)).unwrap_or_default();
    }
    Ok(lines)
}
