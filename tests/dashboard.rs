//! The dashboard in a real browser, on a real server. `CORREIO_PICTURES=FOLDER` keeps pictures of what was seen.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

mod common;

use std::path::PathBuf;

use common::browser::{self, Browser};
use common::client::RawClient;
use common::http::address;
use common::server::Server;
use common::{eventually, scale, skip};
use serde_json::json;

const DESKTOP: (u32, u32) = (1280, 900);
const PHONE: (u32, u32) = (390, 844);

fn serving() -> Server {
    Server::start_with(40, &["--http", "127.0.0.1:0"])
}

fn open(server: &Server) -> Browser {
    let mut browser = Browser::start();
    browser.look(DESKTOP, false, "light");
    browser.open(&format!("http://{}/", address(server)));
    wait_until(&mut browser, "status", "Live");
    browser
}

fn wait_until(browser: &mut Browser, id: &str, text: &str) {
    eventually(&format!("{text:?} in {id}"), || {
        browser.text(id).contains(text).then_some(())
    });
}

/// Keeps pictures of a state of the page, where they are wanted: light, dark, on a phone.
fn keep(browser: &mut Browser, state: &str) {
    let Some(folder) = std::env::var_os("CORREIO_PICTURES").map(PathBuf::from) else {
        return;
    };
    for (name, size, is_phone, scheme) in [
        ("light", DESKTOP, false, "light"),
        ("dark", DESKTOP, false, "dark"),
        ("phone", PHONE, true, "dark"),
        ("phone-light", PHONE, true, "light"),
    ] {
        browser.look(size, is_phone, scheme);
        browser.picture(&folder.join(format!("{state}-{name}.png")));
    }
    browser.look(DESKTOP, false, "light");
}

/// Users who each read as many topics: so many queues to the product of both.
fn crowd(server: &Server, users: usize, topics: usize) -> Vec<RawClient> {
    let names: Vec<String> = (0..topics).map(|at| format!("lab/{at:03}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let crowd = (0..users).map(|at| RawClient::reader(server, &format!("user{at:03}"), &names));
    crowd.collect()
}

#[test]
fn an_empty_server_says_so_and_the_page_asks_nobody_else() {
    if !browser::is_here() {
        return skip("the dashboard of an empty server", "there is no Chromium");
    }
    let server = serving();
    let mut browser = open(&server);
    assert_eq!(browser.text("deepest"), "Nothing waits.");
    assert_eq!(browser.text("newest-sessions"), "Nobody is logged in.");
    assert_eq!(browser.text("waiting"), "0");
    let from = "performance.getEntriesByType('resource').map(e => new URL(e.name).origin)";
    let origins = browser.eval(&format!("[...new Set({from})].join()"));
    assert_eq!(origins, format!("http://{}", address(&server)));
    keep(&mut browser, "empty");
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

#[test]
fn ten_thousand_queues_are_shown_as_they_are() {
    if !browser::is_here() {
        return skip("the dashboard under load", "there is no Chromium");
    }
    let topics = scale("CORREIO_DASHBOARD_TOPICS", 50);
    let server = serving();
    let mut users = crowd(&server, 200, topics);
    let queues = 200 * (topics + 1);
    let mut browser = open(&server);
    for number in 0..60 {
        let to = format!("lab/{:03}", number % 7);
        users[number % 3].mail(&to, &vec![b'x'; 100 * (number + 1)]);
        users[3].mail("user007", b"hello");
    }
    wait_until(&mut browser, "waiting", &thousands(60 * 200 + 60));
    assert_eq!(browser.text("queues"), thousands(queues));
    assert_eq!(browser.text("sessions"), "200");
    assert_eq!(browser.text("users"), "200");
    let deepest = browser.text("deepest");
    let first: Vec<&str> = deepest.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(first[..2], ["user007", "user007"], "{deepest}");
    assert_eq!(first[3], "60", "{deepest}");
    assert_eq!(deepest.lines().count(), 10, "{deepest}");
    let rate = browser.eval("document.querySelector('#chart .accepted').getAttribute('points')");
    assert!(rate.as_str().unwrap().len() > 5, "{rate}");
    keep(&mut browser, "load");
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

fn thousands(number: usize) -> String {
    match number {
        0..1_000 => number.to_string(),
        _ => format!("{},{:03}", number / 1_000, number % 1_000),
    }
}

#[test]
fn a_page_that_is_open_goes_on_after_a_restart() {
    if !browser::is_here() {
        return skip("the dashboard over a restart", "there is no Chromium");
    }
    let mut server = serving();
    let mut ana = RawClient::user(&server, "ana");
    let mut browser = open(&server);
    ana.mail("ana", b"1");
    wait_until(&mut browser, "waiting", "1");
    server.kill9();
    wait_until(&mut browser, "status", "No connection");
    assert_eq!(
        browser.text("waiting"),
        "1",
        "what was known stays, marked as old"
    );
    assert_eq!(browser.eval(CONTRAST), "", "too little contrast");
    keep(&mut browser, "lost");
    server.restart();
    wait_until(&mut browser, "status", "Live");
    ana.reconnect().unwrap();
    ana.mail("ana", b"2");
    wait_until(&mut browser, "waiting", "2");
    let rates = browser.eval("history.map(point => point.accepted).some(rate => rate < 0)");
    assert_eq!(
        rates, false,
        "counters that begin anew are no negative rate"
    );
    keep(&mut browser, "restarted");
}

#[test]
fn p12_names_are_texts_in_the_page() {
    if !browser::is_here() {
        return skip("names in the dashboard", "there is no Chromium");
    }
    let server = serving();
    let mut browser = open(&server);
    // Names that the server would not let in, told all the same.
    let queue = json!({
        "address": "<img src=x onerror=window.hurt=1>", "user": "<script>window.hurt=1</script>",
        "device": 1, "mails": 3, "bytes": 1, "oldest_at_ms": 0,
    });
    let script = format!(
        "fill('deepest', [queueRow({queue}, 1000)]); document.getElementById('deepest').innerText"
    );
    let shown = browser.eval(&script);
    let shown = shown.as_str().unwrap();
    assert!(
        shown.contains("<img src=x onerror=window.hurt=1>"),
        "{shown}"
    );
    assert!(shown.contains("<script>window.hurt=1</script>"), "{shown}");
    assert_eq!(
        browser.eval("document.querySelectorAll('#deepest img, #deepest script').length"),
        0
    );
    assert_eq!(browser.eval("window.hurt ?? null"), json!(null));
    // And what would run from a text is forbidden by the policy.
    let inline = "const s = document.createElement('script'); s.textContent = 'window.hurt = 2'; document.body.append(s); window.hurt ?? null";
    assert_eq!(browser.eval(inline), json!(null));
    let leak = "fetch('http://192.0.2.1/').then(() => 'sent', () => 'refused')";
    assert_eq!(browser.eval(leak), "refused");
    assert!(
        browser
            .complaints
            .iter()
            .any(|said| said.contains("Content Security Policy")),
        "{:?}",
        browser.complaints
    );
}

#[test]
fn the_page_is_for_keyboards_phones_and_screen_readers() {
    if !browser::is_here() {
        return skip("the dashboard for everybody", "there is no Chromium");
    }
    let server = serving();
    let _users = crowd(&server, 3, 3);
    let mut browser = open(&server);
    browser.press("Tab");
    let focused = "document.activeElement.textContent";
    assert_eq!(browser.eval(focused), "Skip to the figures");
    assert_eq!(
        browser.eval("getComputedStyle(document.activeElement).outlineStyle"),
        "solid"
    );
    let tree = browser.call("Accessibility.getFullAXTree", &json!({}));
    let nodes = tree["nodes"].as_array().unwrap();
    let named = |role: &str, name: &str| {
        let mut roles = nodes.iter().filter(|node| node["role"]["value"] == role);
        roles.any(|node| {
            node["name"]["value"]
                .as_str()
                .is_some_and(|n| n.contains(name))
        })
    };
    for (role, name) in [
        ("heading", "Deepest queues"),
        ("region", "Deepest queues"),
        ("region", "Newest sessions"),
        ("columnheader", "Oldest"),
        ("rowheader", "Durable reply"),
        ("image", "Mails a second"),
        ("status", ""),
    ] {
        assert!(named(role, name), "no {role} {name:?}");
    }
    for scheme in ["light", "dark"] {
        browser.look(PHONE, true, scheme);
        let wide = browser.eval("document.documentElement.scrollWidth");
        assert_eq!(wide, PHONE.0, "as wide as a phone, {scheme}");
        let faint = browser.eval(CONTRAST);
        assert_eq!(faint, "", "too little contrast, {scheme}");
    }
}

/// Names texts of the page whose contrast with their ground is below 4.5, as WCAG measures it.
const CONTRAST: &str = r"(() => {
  const channels = (colour) => colour.match(/[\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = channels(colour).slice(0, 3).map((c) => {
      c /= 255;
      return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (at) => {
    for (; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (channels(colour)[3] !== 0) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const faint = [];
  for (const at of document.querySelectorAll('body *')) {
    const own = [...at.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || at.closest('noscript') || !at.checkVisibility()) continue;
    const [one, other] = [light(getComputedStyle(at).color), light(ground(at))].sort((a, b) => b - a);
    if ((one + 0.05) / (other + 0.05) < 4.5) faint.push(at.id || at.textContent);
  }
  return faint.join();
})()";
