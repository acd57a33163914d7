//! What `--json` prints, verb by verb, as data: `mailctl json-schema` makes JSON Schemas (2020-12) of it, and
//! the tests hold what the verbs really print to them, closed to fields that do not stand here.
//!
//! Published schemas are open: fields and kinds may come, these stay.

use serde_json::{Map, Value, json};

use super::codes;

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub enum Type {
    /// Any text.
    Text,
    /// A time: RFC 3339, UTC.
    Time,
    /// A whole number from 0 to 2^53.
    Number,
    /// Yes or no.
    Bool,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A list.
    List(&'static Type),
    /// An object.
    Object(&'static [Field]),
    /// The same, or null.
    OrNull(&'static Type),
    /// What a mail of the mailbox is called: a number, of an imported one a text.
    Called,
    /// Anything.
    Any,
}

use Type::{Any, Bool, Called, List, Number, Object, OrNull, Text, Time, Word};

mod shapes;

pub use shapes::VERBS;

/// A field of an object.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    name: &'static str,
    holds: Type,
    always: bool,
}

/// A field that is always there.
const fn has(name: &'static str, holds: Type) -> Field {
    Field {
        name,
        holds,
        always: true,
    }
}

/// A field that may be absent.
const fn may(name: &'static str, holds: Type) -> Field {
    Field {
        name,
        holds,
        always: false,
    }
}

/// An object that a verb may print.
#[derive(Debug)]
pub struct Shape {
    /// What it is, for people.
    title: &'static str,
    fields: &'static [Field],
    /// One of these stands too.
    one_of: &'static [&'static [Field]],
    /// Has fields that are not listed here.
    is_open: bool,
}

const fn shape(title: &'static str, fields: &'static [Field]) -> Shape {
    Shape {
        title,
        fields,
        one_of: &[],
        is_open: false,
    }
}

/// What a verb prints to stdout. Every verb may print an error or a note to stderr.
#[derive(Debug)]
pub struct Row {
    /// The verb, with the one below it.
    pub verb: &'static str,
    shapes: &'static [&'static Shape],
}

const fn row(verb: &'static str, shapes: &'static [&'static Shape]) -> Row {
    Row { verb, shapes }
}

/// Returns the schema of what a verb prints under `--json`, on stdout and stderr, one object a line.
/// `is_closed` forbids what does not stand here, as the tests want it.
pub fn of(row: &Row, is_closed: bool) -> Value {
    let shapes = row.shapes.iter().map(|shape| object(shape, is_closed));
    let errors = [error(is_closed), note(is_closed)];
    let any: Vec<Value> = shapes.chain(errors).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": format!("mailctl {} --json", row.verb),
        "description": "a line of stdout, or of stderr where it is an error or a note",
        "anyOf": any,
    })
}

fn error(is_closed: bool) -> Value {
    let words: Vec<&str> = codes::all().iter().map(|row| row.word).collect();
    let code = if is_closed {
        json!({"enum": words})
    } else {
        json!({"type": "string", "examples": words})
    };
    let hints = json!({"type": "array", "items": {"type": "string"}});
    let inner = json!({
        "type": "object",
        "properties": {
            "code": code,
            "text": {"type": "string"},
            "retryable": {"type": "boolean"},
            "ref": {"type": ["string", "null"]},
            "hints": hints,
        },
        "required": ["code", "text", "retryable", "ref"],
        "additionalProperties": !is_closed,
    });
    versioned(
        "an error (on stderr)",
        &json!({"error": inner}),
        &["error"],
        is_closed,
    )
}

fn note(is_closed: bool) -> Value {
    let fields = json!({"note": {"type": "string"}});
    versioned(
        "a word on the side (on stderr)",
        &fields,
        &["note"],
        is_closed,
    )
}

fn versioned(title: &str, fields: &Value, required: &[&str], is_closed: bool) -> Value {
    let mut properties = fields.clone();
    properties["v"] = json!({"const": 1});
    let required: Vec<&str> = required.iter().copied().chain(["v"]).collect();
    json!({
        "title": title,
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": !is_closed,
    })
}

fn object(shape: &Shape, is_closed: bool) -> Value {
    let is_closed = is_closed && !shape.is_open;
    let one = |extra: &[Field]| {
        let all: Vec<Field> = shape.fields.iter().chain(extra).copied().collect();
        let (properties, required) = fields(&all, is_closed);
        versioned(
            shape.title,
            &Value::Object(properties),
            &required,
            is_closed,
        )
    };
    match shape.one_of {
        [] => one(&[]),
        several => json!({"oneOf": several.iter().map(|extra| one(extra)).collect::<Vec<_>>()}),
    }
}

fn fields(all: &[Field], is_closed: bool) -> (Map<String, Value>, Vec<&'static str>) {
    let property = |field: &Field| (field.name.to_owned(), schema(field.holds, is_closed));
    let required = all.iter().filter(|field| field.always);
    (
        all.iter().map(property).collect(),
        required.map(|field| field.name).collect(),
    )
}

fn schema(holds: Type, is_closed: bool) -> Value {
    match holds {
        Text => json!({"type": "string"}),
        Time => json!({"type": "string", "format": "date-time"}),
        Number => json!({"type": "integer", "minimum": 0, "maximum": 1_u64 << 53}),
        Bool => json!({"type": "boolean"}),
        Word(words) => json!({"enum": words}),
        List(of) => json!({"type": "array", "items": schema(*of, is_closed)}),
        Object(of) => {
            let (properties, required) = fields(of, is_closed);
            json!({
                "type": "object",
                "properties": properties,
                "required": required,
                "additionalProperties": !is_closed,
            })
        }
        OrNull(of) => json!({"anyOf": [schema(*of, is_closed), {"type": "null"}]}),
        Called => json!({"anyOf": [schema(Number, is_closed), schema(Text, is_closed)]}),
        Any => json!(true),
    }
}

#[cfg(test)]
mod tests;
