//! Holds a JSON value to a schema: the part of JSON Schema that `mailctl json-schema` uses, and a panic at
//! every keyword that is not of it, so that nothing passes unread.

use serde_json::Value;

/// Says what of `value` does not fit `schema`; nothing when all does.
pub fn misfit(schema: &Value, value: &Value) -> Option<String> {
    let Some(rules) = schema.as_object() else {
        assert_eq!(schema, &Value::Bool(true), "a schema");
        return None;
    };
    let mut rules: Vec<_> = rules.iter().collect();
    rules.sort_by_key(|(word, _)| *word);
    rules
        .into_iter()
        .find_map(|(word, rule)| one(schema, word, rule, value))
}

fn one(schema: &Value, word: &str, rule: &Value, value: &Value) -> Option<String> {
    let unless = |fits: bool| (!fits).then(|| format!("{value} is not {word} {rule}"));
    match word {
        "$schema" | "title" | "description" | "examples" => None,
        "const" => unless(rule == value),
        "enum" => unless(list(rule).contains(value)),
        "type" => unless(kinds(rule).iter().any(|kind| is(kind, value))),
        "minimum" => unless(value.as_f64() >= rule.as_f64()),
        "maximum" => unless(value.as_f64() <= rule.as_f64()),
        "format" => {
            assert_eq!(rule, "date-time");
            let text = value.as_str().unwrap_or_default();
            unless(chrono::DateTime::parse_from_rfc3339(text).is_ok() && text.ends_with('Z'))
        }
        "items" => value.as_array()?.iter().find_map(|item| misfit(rule, item)),
        "required" => {
            let missing = list(rule)
                .iter()
                .find(|name| value.get(text(name)).is_none());
            missing.map(|name| format!("{name} is missing"))
        }
        "properties" => {
            let given = rule.as_object().expect("properties");
            given.iter().find_map(|(name, of)| {
                let misfit = misfit(of, value.get(name)?)?;
                Some(format!("{name}: {misfit}"))
            })
        }
        "additionalProperties" => {
            if rule == &Value::Bool(true) {
                return None;
            }
            let known = schema["properties"].as_object().expect("properties");
            let extra = value
                .as_object()?
                .keys()
                .find(|name| !known.contains_key(*name));
            extra.map(|name| format!("{name} is not in the schema"))
        }
        "anyOf" => {
            let misfits: Option<Vec<String>> =
                list(rule).iter().map(|of| misfit(of, value)).collect();
            misfits.map(|all| all.join("\n  or "))
        }
        "oneOf" => {
            let misfits: Vec<Option<String>> =
                list(rule).iter().map(|of| misfit(of, value)).collect();
            let fitting = misfits.iter().filter(|misfit| misfit.is_none()).count();
            let told: Vec<String> = misfits.into_iter().flatten().collect();
            (fitting != 1).then(|| format!("{fitting} of oneOf fit: {}", told.join("\n  or ")))
        }
        other => panic!("this test does not know the keyword {other}"),
    }
}

fn list(rule: &Value) -> &Vec<Value> {
    rule.as_array().expect("a list")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

fn kinds(rule: &Value) -> Vec<&str> {
    match rule {
        Value::Array(several) => several.iter().map(text).collect(),
        one => vec![text(one)],
    }
}

fn is(kind: &str, value: &Value) -> bool {
    match kind {
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("no type {other}"),
    }
}
