//! The docs say what the code does: verbs, codes, limits, examples, promises, links.

use std::collections::BTreeSet;

use correio::cli::codes;
use correio::limits;
use correio::protocol::codes::Code;
use correio::protocol::notice::Notice;
use correio::protocol::reply;
use correio::protocol::request::{Request, VERBS};
use serde_json::Value;

use super::report;
use super::scan::{Source, files, line_of, read, root};

const PAGE: &str = "docs/protocol.md";

/// Returns the JSON blocks of a kind (the word after `json` at their head) and where they begin.
fn examples<'a>(page: &'a str, kind: &str) -> Vec<(usize, &'a str)> {
    let open = format!("```json {kind}\n");
    page.match_indices(&open)
        .map(|(at, _)| {
            let inside = &page[at + open.len()..];
            (
                at,
                inside
                    .split("\n```")
                    .next()
                    .expect("a split has a first part"),
            )
        })
        .collect()
}

/// Returns the verb whose section holds a byte of the page.
fn verb_at(page: &str, at: usize) -> &str {
    let heading = page[..at]
        .rfind("### `")
        .expect("examples stand in a verb's section");
    page[heading + 5..]
        .split('`')
        .next()
        .expect("a split has a first part")
}

fn json(page: &Source, at: usize, text: &str) -> Value {
    serde_json::from_str(text)
        .unwrap_or_else(|error| panic!("{}:{}: {error}", page.path, line_of(&page.text, at)))
}

fn keys(value: &Value) -> BTreeSet<String> {
    let object = value.as_object().expect("headers are objects");
    object.keys().cloned().collect()
}

#[test]
fn protocol_page_lists_the_codes_verbs() {
    let page = read(PAGE).text;
    let listed: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'))
        .collect();
    assert_eq!(
        listed, VERBS,
        "{PAGE}: section 4 and request.rs list different verbs"
    );
}

#[test]
fn protocol_page_lists_the_codes() {
    let page = read(PAGE).text;
    let table = page
        .split("## 9. Codes")
        .nth(1)
        .expect("the page has section 9");
    let table = table
        .split("\n## ")
        .next()
        .expect("a split has a first part");
    let listed: Vec<String> = table
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            line.split('|')
                .take(4)
                .map(str::trim)
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    let known: Vec<String> = Code::ALL
        .iter()
        .map(|code| {
            let retryable = if code.retryable() { "yes" } else { "no" };
            format!(" `{}` {} {retryable}", code.word(), code.exit())
        })
        .collect();
    assert_eq!(listed, known, "{PAGE}: section 9 and codes.rs differ");
}

/// Words in double quotes after each `mark`, whatever white space stands between.
fn words_after(text: &str, mark: &str) -> Vec<String> {
    let rest = text.split(mark).skip(1);
    rest.filter_map(|rest| {
        let quoted = rest.trim_start().strip_prefix('"')?;
        let word = quoted.split('"').next()?;
        (!word.is_empty()).then(|| word.to_owned())
    })
    .collect()
}

#[test]
fn every_word_of_an_error_is_explained() {
    let mut found = Vec::new();
    let page = read("docs/cli.md").text;
    for source in files(&["src"], &["rs"]) {
        let mut words = Vec::new();
        if source.path.starts_with("src/cli/") {
            words.extend(words_after(&source.text, "CliError::new("));
        }
        if [
            "src/client/error.rs",
            "src/client/home.rs",
            "src/chat/error.rs",
        ]
        .contains(&source.path.as_str())
        {
            let code = source
                .text
                .split("fn code(&self)")
                .nth(1)
                .unwrap_or_default();
            words.extend(words_after(
                code.split("fn ").next().unwrap_or_default(),
                "=>",
            ));
        }
        for word in words {
            if codes::find(&word).is_none() {
                found.push(format!(
                    "{}:1: {word} is missing in src/cli/codes.rs",
                    source.path
                ));
            }
        }
    }
    let own = codes::all()
        .into_iter()
        .filter(|row| !row.is_servers && row.exits != [0]);
    for row in own.filter(|row| !page.contains(&format!("`{}`", row.word))) {
        found.push(format!(
            "docs/cli.md:1: {} is missing among the codes",
            row.word
        ));
    }
    report(&found);
}

#[test]
fn protocol_page_names_no_code_that_is_none() {
    let page = read(PAGE);
    let known: BTreeSet<&str> = Code::ALL.iter().map(|code| code.word()).collect();
    let mut found = Vec::new();
    for (at, _) in page.text.match_indices("Codes: ") {
        let sentence = page.text[at..]
            .split("\n\n")
            .next()
            .expect("a split has a first part");
        for word in sentence.split('`').skip(1).step_by(2) {
            let verb = verb_at(&page.text, at);
            let field =
                word.contains('.') || VERBS.contains(&word) || word == "body" || word == "user";
            if !known.contains(word) && !field {
                let line = line_of(&page.text, at);
                found.push(format!("{PAGE}:{line}: {verb}: {word} is no code"));
            }
        }
    }
    report(
        &found
            .into_iter()
            .filter(|line| !line.contains("device is no code"))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn protocol_page_has_a_true_request_per_verb() {
    let page = read(PAGE);
    let examples = examples(&page.text, "request");
    let verbs: Vec<&str> = examples
        .iter()
        .map(|(at, _)| verb_at(&page.text, *at))
        .collect();
    assert_eq!(verbs, VERBS, "{PAGE}: one request example per verb");
    let mut found = Vec::new();
    for (at, text) in examples {
        let (line, verb) = (line_of(&page.text, at), verb_at(&page.text, at));
        match Request::decode(text.as_bytes()) {
            Err(error) => found.push(format!("{PAGE}:{line}: {error}")),
            Ok(request) if request.verb() != verb => {
                found.push(format!(
                    "{PAGE}:{line}: the example is a {}",
                    request.verb()
                ));
            }
            Ok(request) => {
                let told = json(&page, at, text);
                let known: Value = serde_json::from_slice(&request.encode()).expect("we made it");
                let section = page.text[..at]
                    .rsplit("### `")
                    .next()
                    .expect("it has a first part");
                let untold = keys(&known).into_iter().filter(|key| key != "verb");
                let untold = untold.filter(|key| !section.contains(&format!("| `{key}` |")));
                found.extend(untold.map(|key| format!("{PAGE}:{line}: {verb}: no field `{key}`")));
                let null = |key: &String| told[key].is_null();
                let strange = keys(&told).into_iter().filter(|key| !null(key));
                let strange = strange.filter(|key| known.get(key).is_none());
                found.extend(strange.map(|key| format!("{PAGE}:{line}: {verb} has no `{key}`")));
            }
        }
    }
    report(&found);
}

/// Decodes a reply as its verb's type and writes it again.
fn again(verb: &str, header: &[u8]) -> Result<Vec<u8>, reply::DecodeError> {
    fn pass<T>(header: &[u8]) -> Result<Vec<u8>, reply::DecodeError>
    where
        T: serde::Serialize + for<'a> serde::Deserialize<'a>,
    {
        reply::decode::<T>(header).map(|body| reply::encode(&body))
    }
    match verb {
        "hello" => pass::<reply::Hello>(header),
        "register" => pass::<reply::Registered>(header),
        "login" => pass::<reply::Login>(header),
        "logs" | "join" => pass::<reply::Logs>(header),
        "heartbeat" => pass::<reply::Heartbeat>(header),
        "send" => pass::<reply::Sent>(header),
        "part" => pass::<reply::Part>(header),
        "fetch" | "history" => pass::<reply::Page>(header),
        "body" => pass::<reply::Body>(header),
        "topics" => pass::<reply::Topics>(header),
        "topic" => pass::<reply::Topic>(header),
        "invite" => pass::<reply::Invited>(header),
        "lease" | "lease_confirm" | "lease_busy" => pass::<reply::Lease>(header),
        "admin" => pass::<reply::Rows>(header),
        "chat_ask" => pass::<reply::Asked>(header),
        "chat_accept" => pass::<reply::Introduction>(header),
        "chats" => pass::<reply::Chats>(header),
        "blocks" => pass::<reply::Blocks>(header),
        "who" => pass::<reply::Presences>(header),
        "devices" => pass::<reply::Devices>(header),
        "codes" => pass::<reply::Codes>(header),
        _ => pass::<reply::Done>(header),
    }
}

#[test]
fn protocol_page_has_a_true_reply_per_verb() {
    let page = read(PAGE);
    let examples = examples(&page.text, "reply");
    let verbs: Vec<&str> = examples
        .iter()
        .map(|(at, _)| verb_at(&page.text, *at))
        .collect();
    assert_eq!(verbs, VERBS, "{PAGE}: one reply example per verb");
    for (at, text) in examples {
        let (line, verb) = (line_of(&page.text, at), verb_at(&page.text, at));
        let again = again(verb, text.as_bytes()).unwrap_or_else(|e| panic!("{PAGE}:{line}: {e}"));
        let again: Value = serde_json::from_slice(&again).expect("we made it");
        assert_eq!(
            json(&page, at, text),
            again,
            "{PAGE}:{line}: {verb}: fields differ"
        );
    }
}

#[test]
fn protocol_page_has_true_notices() {
    let page = read(PAGE);
    let examples = examples(&page.text, "notice");
    assert!(
        examples.len() >= 4,
        "{PAGE}: one example per kind of notice"
    );
    for (at, text) in examples {
        let line = line_of(&page.text, at);
        let notice = Notice::decode(text.as_bytes());
        let notice = notice.unwrap_or_else(|| panic!("{PAGE}:{line}: no notice"));
        let again: Value = serde_json::from_slice(&notice.encode()).expect("we made it");
        assert_eq!(json(&page, at, text), again, "{PAGE}:{line}: fields differ");
    }
}

/// What the page's table of limits must say, in its order.
fn known_limits() -> Vec<u64> {
    let sizes = [
        limits::FRAME_BYTES_MAX as u64,
        limits::REQUEST_ID_BYTES_MAX as u64,
        limits::BODY_BYTES_DEFAULT,
        limits::BODY_BYTES_CEILING,
        limits::STAGING_BYTES_MAX,
        limits::STAGING_IDLE_MS,
        limits::NAME_BYTES_MAX as u64,
        limits::SUBJECT_BYTES_MAX as u64,
        limits::CONTENT_TYPE_BYTES_MAX as u64,
        limits::DEVICE_NAME_BYTES_MAX as u64,
        limits::RECIPIENTS_MAX as u64,
        limits::TTL_SECONDS_MAX,
        limits::STREAM_WINDOW_MAX,
        limits::STREAMS_PER_DEVICE_MAX as u64,
        limits::SESSIONS_PER_DEVICE_MAX as u64,
        limits::DEVICES_PER_USER_MAX as u64,
        limits::SUBSCRIPTIONS_MAX as u64,
        limits::CODES_PER_USER_MAX as u64,
        limits::CODE_SECONDS,
        u64::from(limits::PAGE_MAILS_MAX),
        limits::PAGE_BYTES_MAX as u64,
        limits::ROWS_MAX as u64,
        limits::ACKS_MAX as u64,
        limits::READS_PER_DEVICE_MAX as u64,
        limits::NOTICE_BODY_BYTES_MAX as u64,
        limits::SUBSCRIPTION_FRAME_BYTES_MAX as u64,
        limits::HEARTBEAT_MS,
        limits::SESSION_TTL_MS,
        limits::LOG_MAILS_DEFAULT,
        limits::LOG_BYTES_DEFAULT,
        limits::INVITATION_TTL_MS,
        limits::INVITATIONS_FROM_USER_MAX as u64,
        limits::INVITATIONS_TO_USER_MAX as u64,
        limits::INVITATIONS_TO_ONE_MAX as u64,
        limits::INVITATIONS_RESERVED as u64,
        limits::INVITATIONS_PER_MINUTE as u64,
        limits::INVITATION_ANSWER_MS,
        limits::NONCE_BYTES_MAX as u64,
        limits::BLOCKS_MAX as u64,
    ];
    sizes.to_vec()
}

#[test]
fn protocol_page_has_the_limits_of_the_code() {
    let page = read(PAGE).text;
    let table = page
        .split("| Limit | Value |")
        .nth(1)
        .expect("the page has the table of limits");
    let told: Vec<u64> = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            line.rsplit('|')
                .nth(1)
                .expect("a row has cells")
                .trim()
                .replace(',', "")
        })
        .map(|value| value.parse().expect("limits are whole numbers"))
        .collect();
    assert_eq!(
        told,
        known_limits(),
        "{PAGE}: section 10 and limits.rs differ"
    );
}

#[test]
fn promises_are_proved_by_tests_that_exist() {
    let page = read("docs/promises.md");
    let code: String = files(&["src", "tests"], &["rs"])
        .into_iter()
        .map(|source| source.text)
        .collect();
    let mut found = Vec::new();
    for number in 1..=13 {
        if !page.text.contains(&format!("## P{number} ")) {
            found.push(format!("{}:1: no section P{number}", page.path));
        }
    }
    for (at, _) in page.text.match_indices("`p") {
        let name = page.text[at + 1..]
            .split('`')
            .next()
            .expect("a split has a first part");
        if is_proof(name) && !code.contains(&format!("fn {name}(")) {
            found.push(format!(
                "{}:{}: no test {name}",
                page.path,
                line_of(&page.text, at)
            ));
        }
    }
    for (at, _) in code.match_indices("fn p") {
        let name = code[at + 3..]
            .split('(')
            .next()
            .expect("a split has a first part");
        if is_proof(name) && !page.text.contains(&format!("`{name}`")) {
            found.push(format!(
                "{}:1: {name} is missing: run tools/promises.py",
                page.path
            ));
        }
    }
    report(&found);
}

/// Says whether a name is that of a test for a promise: `p03_retry_gets_the_first_outcome`.
fn is_proof(name: &str) -> bool {
    let mut chars = name.chars().skip(1);
    let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    digit(chars.next()) && digit(chars.next()) && chars.next() == Some('_')
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut found = Vec::new();
    let top = [
        "README.md",
        "README.pt-BR.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
    ];
    for page in files(
        &[&top[..], &["docs", "examples", "data/README.md"]].concat(),
        &["md"],
    ) {
        for (at, _) in page.text.match_indices("](") {
            let target = page.text[at + 2..].split([')', '#']).next().unwrap_or("");
            let folder = root().join(&page.path);
            let folder = folder.parent().expect("a file lies in a folder");
            if !target.is_empty() && !target.contains("://") && !folder.join(target).exists() {
                let line = line_of(&page.text, at);
                found.push(format!("{}:{line}: {target}: no such file", page.path));
            }
        }
    }
    report(&found);
}
