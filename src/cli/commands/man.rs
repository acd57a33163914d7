//! `mailctl man`: the manual pages of both programs, made of the grammar that also makes the help.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command as Program, Stdio};

use clap::{Command, CommandFactory};
use clap_mangen::Man as Page;
use serde_json::json;

use super::Context;
use crate::cli::args::{Cli, Man};
use crate::cli::error::CliError;
use crate::cli::i18n::{help, text, tr, tr_later};
use crate::cli::json::object;
use crate::protocol::codes::exit;

/// Headings that the library puts into a page.
const HEADINGS: [&str; 7] = [
    tr_later!("NAME"),
    tr_later!("SYNOPSIS"),
    tr_later!("DESCRIPTION"),
    tr_later!("OPTIONS"),
    tr_later!("SUBCOMMANDS"),
    tr_later!("EXTRA"),
    tr_later!("VERSION"),
];

/// Runs the verb.
pub(crate) fn run(context: &mut Context<'_>, args: &Man) -> Result<(), CliError> {
    match &args.what[..] {
        [dir] if dir.contains('/') => write_all(context, dir.as_ref()),
        words => show(context, words),
    }
}

/// Shows one page: to a person at a terminal as `man` does, else as it is written.
fn show(context: &mut Context<'_>, words: &[String]) -> Result<(), CliError> {
    let (name, section, page) = find(words)?;
    let is_shown = context.ui.width().is_some()
        && !context.ui.is_json()
        && shown_by_man(&page, context.ui.look().plain);
    if is_shown {
        return Ok(());
    }
    let fields = json!({"page": name, "section": section, "roff": page});
    context.ui.result(&object(fields), page.trim_end())
}

/// Finds a page by the words of its verb.
fn find(words: &[String]) -> Result<Rendered, CliError> {
    let wanted = words.join("-");
    let of_verb = match wanted.as_str() {
        "" => "mailctl".to_owned(),
        verb => format!("mailctl-{verb}"),
    };
    let mut pages = pages()?;
    let found = pages.iter().position(|(name, ..)| *name == of_verb);
    let found = found.or_else(|| pages.iter().position(|(name, ..)| *name == wanted));
    found.map(|at| pages.swap_remove(at)).ok_or_else(|| {
        let words = words.join(" ");
        CliError::usage(tr!("there is no page {}", words))
            .hint(tr!("list the verbs: mailctl help"))
            .hint(tr!("a folder needs a slash: mailctl man ./{}", words))
    })
}

/// Has the system's `man` show a page. Says whether there is one that could.
fn shown_by_man(page: &str, plain: bool) -> bool {
    let mut man = Program::new("man");
    man.args(["-l", "-"]).stdin(Stdio::piped());
    if plain {
        man.env("MANPAGER", "cat");
    }
    let Ok(mut man) = man.spawn() else {
        return false;
    };
    // Who leaves it early has seen what he wanted.
    let written = man
        .stdin
        .take()
        .map(|mut pipe| pipe.write_all(page.as_bytes()));
    drop(written);
    man.wait().is_ok_and(|ended| ended.success())
}

fn write_all(context: &mut Context<'_>, dir: &Path) -> Result<(), CliError> {
    let deed = || tr!("write into {}", dir.display());
    let cannot = |error| CliError::io(&deed(), &error).exits(exit::CANT_CREATE);
    fs::create_dir_all(dir).map_err(cannot)?;
    for (name, section, page) in pages()? {
        let path = dir.join(format!("{name}.{section}"));
        fs::write(&path, page).map_err(cannot)?;
        tell(context, &name, section, &path)?;
    }
    Ok(())
}

fn tell(context: &mut Context<'_>, name: &str, section: &str, at: &Path) -> Result<(), CliError> {
    let fields = json!({"page": name, "section": section, "path": at});
    context.ui.result(&object(fields), at.display())
}

/// A page's name, its section, and its text.
type Rendered = (String, &'static str, String);

/// Renders every page: of `mailctl`, of each verb that is shown, of `mailserver` and its verbs.
fn pages() -> Result<Vec<Rendered>, CliError> {
    let mut pages = Vec::new();
    render_all(help::translate(Cli::command()), "1", &mut pages)?;
    render_all(crate::mailserver::command(), "8", &mut pages)?;
    Ok(pages)
}

fn render_all(
    mut root: Command,
    section: &'static str,
    pages: &mut Vec<Rendered>,
) -> Result<(), CliError> {
    // The `help` verb is explained by every page.
    root = root.disable_help_subcommand(true);
    root.build();
    render_below(&root, section, pages)
}

fn render_below(
    command: &Command,
    section: &'static str,
    pages: &mut Vec<Rendered>,
) -> Result<(), CliError> {
    pages.push(render(command.clone(), section)?);
    let shown = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    shown
        .filter(|verb| verb.get_name() != "help")
        .try_for_each(|verb| render_below(verb, section, pages))
}

fn render(command: Command, section: &'static str) -> Result<Rendered, CliError> {
    let name = command
        .get_display_name()
        .unwrap_or_else(|| command.get_name())
        .to_owned();
    let source = concat!("Correio ", env!("CARGO_PKG_VERSION"));
    let page = Page::new(command)
        .title(name.to_uppercase())
        .section(section)
        .source(source)
        .manual("Correio");
    let mut roff = Vec::new();
    page.render(&mut roff)
        .map_err(|error| CliError::io(tr!("make the page"), &error))?;
    Ok((name, section, headed(&String::from_utf8_lossy(&roff))))
}

/// Returns a page with its headings in the language of this process.
fn headed(roff: &str) -> String {
    let mut page = String::with_capacity(roff.len());
    for line in roff.split_inclusive('\n') {
        let heading = line.strip_prefix(".SH ").map(str::trim_end);
        match HEADINGS.iter().find(|known| Some(**known) == heading) {
            Some(known) => page.extend([".SH ", text(known), "\n"]),
            None => page.push_str(line),
        }
    }
    page
}
