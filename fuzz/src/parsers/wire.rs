//! What comes over the sockets of a server and of its clients, and the names in it.

use std::fmt::Debug;

use correio::auth::zap::{Verdict, decide};
use correio::cli::times as shown_times;
use correio::fuzzing;
use correio::limits::{FRAME_BYTES_MAX, HEADER_BYTES_MAX, NAME_BYTES_MAX};
use correio::protocol::codes::{Code, WireError};
use correio::protocol::names::{Address, Pattern, UserName};
use correio::protocol::notice::{KEY_BYTES, Notice, NoticeKey};
use correio::protocol::reply::{self, DecodeError};
use correio::protocol::request::{Request, VERBS};
use correio::protocol::time;
use correio::protocol::url::ServerUrl;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{acts, acts_in};

/// A header is refused with a code and few words, or is written the same again.
pub(super) fn request(header: &[u8]) {
    match Request::decode(header) {
        Ok(request) => {
            let again = request.encode();
            assert!(VERBS.contains(&request.verb()));
            assert!(request.session().len() <= header.len());
            if again.len() <= FRAME_BYTES_MAX {
                assert_eq!(Request::decode(&again), Ok(request));
            }
        }
        Err(error) => {
            let codes = [Code::BadRequest, Code::Unsupported, Code::TooLarge];
            assert!(codes.contains(&error.code), "{error:?}");
            assert!(error.text.chars().count() < 1_000);
            let told = reply::encode_error(&error);
            assert!(told.len() <= HEADER_BYTES_MAX);
            assert_refused(&told, &error);
        }
    }
}

fn assert_refused(header: &[u8], error: &WireError) {
    match reply::decode::<reply::Done>(header) {
        Err(DecodeError::Refused(told)) => assert_eq!(told, *error),
        other => panic!("{other:?}"),
    }
}

/// The first byte says which verb it answers.
pub(super) fn reply(bytes: &[u8]) {
    let Some((kind, header)) = bytes.split_first() else {
        return;
    };
    let kinds: [fn(&[u8]); 21] = [
        answer::<reply::Hello>,
        answer::<reply::Registered>,
        answer::<reply::Login>,
        answer::<reply::Logs>,
        answer::<reply::Heartbeat>,
        answer::<reply::Sent>,
        answer::<reply::Part>,
        answer::<reply::Page>,
        answer::<reply::Body>,
        answer::<reply::Done>,
        answer::<reply::Topics>,
        answer::<reply::Topic>,
        answer::<reply::Invited>,
        answer::<reply::Lease>,
        answer::<reply::Asked>,
        answer::<reply::Introduction>,
        answer::<reply::Chats>,
        answer::<reply::Blocks>,
        answer::<reply::ChatRow>,
        answer::<reply::Envelope>,
        rows,
    ];
    kinds[usize::from(*kind) % kinds.len()](header);
}

fn answer<T: DeserializeOwned + Serialize + PartialEq + Debug>(header: &[u8]) {
    match reply::decode::<T>(header) {
        Ok(told) => assert_eq!(reply::decode::<T>(&reply::encode(&told)).ok(), Some(told)),
        Err(DecodeError::Refused(error)) => assert_refused(&reply::encode_error(&error), &error),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Rows hold any JSON, fractions too, which are not written as they came.
fn rows(header: &[u8]) {
    if let Ok(told) = reply::decode::<reply::Rows>(header) {
        assert!(reply::decode::<reply::Rows>(&reply::encode(&told)).is_ok());
    }
}

/// A subscription's key, in bytes and as text, and a notice's header.
pub(super) fn notice(bytes: &[u8]) {
    let key = NoticeKey::from_bytes(bytes);
    assert_eq!(key.is_some(), bytes.len() == KEY_BYTES);
    if let Some(key) = key {
        assert_eq!(key.to_bytes(), bytes);
        assert_eq!(NoticeKey::from_hex(&key.to_hex()), Some(key));
    }
    let text = String::from_utf8_lossy(bytes);
    if let Some(key) = NoticeKey::from_hex(&text) {
        assert_eq!(key.to_hex(), text.to_lowercase());
    }
    if let Some(notice) = Notice::decode(bytes) {
        assert_eq!(Notice::decode(&notice.encode()), Some(notice));
    }
}

/// An error as a reply tells it, and a code as a word.
pub(super) fn error(bytes: &[u8]) {
    let word = String::from_utf8_lossy(bytes).into_owned();
    let code: Code = serde_json::from_value(word.clone().into()).expect("any word is a code");
    assert!(code == Code::Unknown || code.word() == word);
    let Ok(error) = serde_json::from_slice::<WireError>(bytes) else {
        return;
    };
    let again = serde_json::to_vec(&error).expect("an error is a map");
    assert_eq!(
        serde_json::from_slice::<WireError>(&again).ok(),
        Some(error.clone())
    );
    assert!((64..=78).contains(&error.code.exit()));
    assert!(!error.code.meaning().is_empty());
    assert!(error.to_string().ends_with(&format!("({})", error.code)));
    let made = WireError::new(error.code, error.text).after_ms(5);
    assert_eq!(made.retryable, error.code.retryable());
}

/// What is a name is one in its normal form, and nothing in it means more than a name.
pub(super) fn names(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let user = UserName::parse(&text);
    let address = Address::parse(&text);
    let pattern = Pattern::parse(&text);
    match &user {
        Ok(user) => {
            assert_name(user.as_str());
            assert!(!user.as_str().contains('/'));
            assert_eq!(UserName::parse(user.as_str()).as_ref(), Ok(user));
            assert_eq!(address.as_ref(), Ok(&Address::from(user.clone())));
            assert_eq!(user.to_string().parse::<UserName>().as_ref(), Ok(user));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Ok(address) = &address {
        assert_name(address.as_str());
        assert_eq!(Address::parse(address.as_str()).as_ref(), Ok(address));
        assert_eq!(pattern.as_ref().map(Pattern::as_str), Ok(address.as_str()));
    }
    if let Ok(pattern) = pattern {
        assert_pattern(&pattern);
    }
}

fn assert_pattern(pattern: &Pattern) {
    let text = pattern.as_str();
    assert_name(text.strip_suffix("/*").unwrap_or(text));
    assert_eq!(Pattern::parse(text).as_ref(), Ok(pattern));
    assert_eq!(pattern.topic().is_some(), pattern.prefix().is_none());
    if let Some(prefix) = pattern.prefix() {
        assert!(pattern.matches(&format!("{prefix}x")));
        assert!(!pattern.matches(prefix.trim_end_matches('/')));
    } else {
        assert!(pattern.matches(text) && !pattern.matches(&format!("{text}x")));
    }
    let json = serde_json::to_string(pattern).expect("a name is text");
    assert_eq!(
        serde_json::from_str::<Pattern>(&json).ok().as_ref(),
        Some(pattern)
    );
}

fn assert_name(name: &str) {
    assert!((1..=NAME_BYTES_MAX).contains(&name.len()), "{name:?}");
    assert!(
        !name.contains(acts) && !name.contains(char::is_whitespace),
        "{name:?}"
    );
    assert!(!name.starts_with(['@', '#', '!', '-', '.']), "{name:?}");
    assert!(!name.contains('*') && name.split('/').all(|level| !level.is_empty()));
    // It becomes a folder's name.
    assert!(!name.contains('\0') && name != ".." && name != ".");
}

/// An address with its key is written the same again, and its endpoint is one endpoint.
pub(super) fn server_url(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match ServerUrl::parse(&text) {
        Ok(url) => {
            let again = url.to_string();
            assert!(
                !again.contains(acts) && !again.contains(char::is_whitespace),
                "{again:?}"
            );
            assert_eq!(ServerUrl::parse(&again).as_ref(), Ok(&url));
            let endpoint = url.endpoint(url.port);
            let place = endpoint.strip_prefix("tcp://").expect("it is TCP");
            assert!(
                !place.contains([';', '/', ',', '?', '&', '*']),
                "{endpoint}"
            );
        }
        Err(error) => assert!(error.to_string().len() < 200),
    }
}

/// The earliest and the latest time that RFC 3339 can write.
const YEARS: std::ops::RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;

/// A time is the same after it was written again; whatever it is, what is shown of it cannot act.
pub(super) fn times(bytes: &[u8]) {
    if let Some(number) = bytes.first_chunk() {
        let written = time::to_text(i64::from_be_bytes(*number));
        assert!(written.ends_with('Z') && !written.contains(acts));
    }
    let text = String::from_utf8_lossy(bytes);
    match time::from_text(&text) {
        Some(ms) if YEARS.contains(&ms) => {
            assert_eq!(time::from_text(&time::to_text(ms)), Some(ms));
        }
        Some(ms) => assert!(!time::to_text(ms).is_empty()),
        None => {}
    }
    for shown in [
        shown_times::human(&text),
        shown_times::hour(&text),
        shown_times::left(&text),
    ] {
        assert!(!acts_in(&shown), "{shown:?}");
    }
    let warning = shown_times::skew_warning(&text);
    assert!(warning.is_none_or(|warning| !acts_in(&warning)));
}

/// A host that a client gives goes into another client's endpoint; an address is seen in normal form.
pub(super) fn host(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(Some(host)) = fuzzing::given(Some(&text)) {
        assert!(!host.is_empty() && !host.contains(acts));
        assert!(!host.contains([' ', ';', '/', ',', '[', ']', '*', '?', '&', '%']));
        assert_eq!(fuzzing::given(Some(host)).ok(), Some(Some(host)));
    }
    let seen = fuzzing::seen(&text);
    assert_eq!(fuzzing::seen(&seen), seen);
    for (side, reader) in [(text.as_ref(), "192.0.2.7"), ("127.0.0.1", text.as_ref())] {
        let between = fuzzing::between(side, reader);
        assert!(between.is_none_or(|host| host == side && !host.is_empty()));
    }
    assert_eq!(fuzzing::given(None).ok(), Some(None));
}

/// The frames of a question, each after its length in one byte: nobody gets in but by CURVE, and by a key
/// that may.
pub(super) fn zap(bytes: &[u8]) {
    let mut frames = Vec::new();
    let mut rest = bytes;
    while let Some((len, after)) = rest.split_first() {
        let (frame, after) = after.split_at(after.len().min(usize::from(*len)));
        frames.push(frame.to_vec());
        rest = after;
    }
    let verdict = decide(&frames, |domain, key| domain == b"mail" && key[0] < 128);
    match verdict {
        Verdict::Welcome(key) => {
            assert_eq!(frames.len(), 7);
            assert_eq!([&frames[0][..], &frames[5][..]], [&b"1.0"[..], b"CURVE"]);
            assert!(frames[2] == b"mail" && frames[6] == key && key[0] < 128);
        }
        Verdict::Unwelcome => assert_eq!(frames[6].len(), 32),
        Verdict::Malformed => assert!(!decide(&frames, |_, _| true).eq(&Verdict::Welcome([0; 32]))),
    }
    let answer = verdict.answer(&frames);
    let welcome = matches!(verdict, Verdict::Welcome(_));
    assert_eq!(answer[2] == b"200", welcome);
    assert_eq!(answer[4].len(), if welcome { 64 } else { 0 });
    assert_eq!(answer[1], frames.get(1).cloned().unwrap_or_default());
}

/// An event has two bytes, whatever follows.
pub(super) fn monitor_event(bytes: &[u8]) {
    let event = fuzzing::raw_event(bytes);
    assert_eq!(event.is_some(), bytes.len() >= 2);
    assert_eq!(event, bytes.get(..2).and_then(fuzzing::raw_event));
}
