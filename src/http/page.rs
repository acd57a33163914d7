//! The dashboard: its files, and what they are told every second.

use crate::broker::figures::Queues;
use crate::broker::window::Figures;
use crate::protocol::active::is_active;

/// Returns a file's kind and content.
pub(super) fn file(path: &str) -> Option<(&'static str, &'static [u8])> {
    Some(match path {
        "/" => (
            "text/html; charset=utf-8",
            include_bytes!("page/index.html").as_slice(),
        ),
        "/page.js" => (
            "text/javascript; charset=utf-8",
            include_bytes!("page/page.js"),
        ),
        "/page.css" => ("text/css; charset=utf-8", include_bytes!("page/page.css")),
        "/icon.svg" => ("image/svg+xml", include_bytes!("page/icon.svg")),
        _ => return None,
    })
}

/// Makes one event of figures: a line of JSON, in which nothing of others can end a line or act.
pub(super) fn event(figures: &Figures) -> Vec<u8> {
    let mut figures = figures.clone();
    shown_queues(&mut figures.queues);
    for session in &mut figures.state.newest_sessions {
        session.user = shown(&session.user);
    }
    for deed in &mut figures.state.deeds {
        deed.by = shown(&deed.by);
        deed.address = shown(&deed.address);
    }
    let json = serde_json::to_string(&figures).unwrap_or_default();
    format!("data: {json}\n\n").into_bytes()
}

fn shown_queues(queues: &mut Queues) {
    for queue in queues.deepest.iter_mut().chain(&mut queues.oldest) {
        queue.address = shown(&queue.address);
        queue.user = shown(&queue.user);
    }
}

/// Makes visible what would act or hide in a page. That a name is no
/// markup is the script's matter, which puts texts in as texts.
fn shown(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for c in name.chars() {
        if is_active(c) {
            text.extend(c.escape_unicode());
        } else {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p12_what_would_act_is_shown() {
        assert_eq!(shown("ana"), "ana");
        assert_eq!(shown("josé/測試"), "josé/測試");
        assert_eq!(shown("a\u{202e}b\n\u{1b}[m"), "a\\u{202e}b\\u{a}\\u{1b}[m");
    }

    #[test]
    fn p12_the_page_holds_no_script_and_no_style_of_its_own() {
        let (_, html) = file("/").unwrap();
        let html = str::from_utf8(html).unwrap();
        assert!(html.contains("<script src=\"/page.js\""), "{html}");
        for word in [
            "<style",
            " style=",
            " onclick",
            " onload",
            "javascript:",
            "http://",
            "https://",
        ] {
            assert!(!html.contains(word), "{word}");
        }
        let (_, script) = file("/page.js").unwrap();
        let script = str::from_utf8(script).unwrap();
        for word in [
            "innerHTML",
            "outerHTML",
            "insertAdjacent",
            "document.write",
            "eval(",
        ] {
            assert!(
                !script.contains(word),
                "{word}: texts of others go in as texts"
            );
        }
    }

    #[test]
    fn every_file_that_the_page_names_is_there() {
        let (_, html) = file("/").unwrap();
        let html = str::from_utf8(html).unwrap();
        for name in ["/page.js", "/page.css", "/icon.svg"] {
            assert!(html.contains(name), "{name}");
            assert!(file(name).is_some(), "{name}");
        }
        assert!(file("/../Cargo.toml").is_none());
    }
}
