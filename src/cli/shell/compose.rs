//! Writing a mail at the prompt: a subject, then lines until `.` or Ctrl-D. Ctrl-C drops it.

/// Where typed lines come from: the line editor, or a test.
pub trait Lines {
    /// Asks for a line.
    fn read(&mut self, prompt: &str) -> Typed;
}

/// What was typed at a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Typed {
    /// A line, without its newline.
    Line(String),
    /// Ctrl-D.
    End,
    /// Ctrl-C.
    Interrupt,
    /// The terminal is of no use any more.
    Failed(String),
}

/// A mail as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composed {
    /// One line, or nothing.
    pub subject: String,
    /// The lines, with newlines between them and none after the last.
    pub text: String,
}

/// Asks for a subject and a text; nothing when it was dropped, or when there is not one line of
/// text.
pub fn compose(lines: &mut dyn Lines) -> Option<Composed> {
    let Typed::Line(subject) = lines.read("Subject (Enter for none): ") else {
        return None;
    };
    let mut text: Vec<String> = Vec::new();
    loop {
        match lines.read("| ") {
            Typed::Line(line) if line == "." => break,
            Typed::Line(line) => text.push(line),
            Typed::End => break,
            Typed::Interrupt | Typed::Failed(_) => return None,
        }
    }
    (!text.is_empty()).then(|| Composed {
        subject: subject.trim().to_owned(),
        text: text.join("\n"),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// Lines that were typed before; then the end.
    pub(crate) struct Script(pub(crate) VecDeque<Typed>);

    impl Lines for Script {
        fn read(&mut self, _: &str) -> Typed {
            self.0.pop_front().unwrap_or(Typed::End)
        }
    }

    fn typed(lines: &[&str]) -> VecDeque<Typed> {
        lines
            .iter()
            .map(|line| Typed::Line((*line).to_owned()))
            .collect()
    }

    #[test]
    fn a_dot_or_the_end_finishes_the_text() {
        let lunch = Some(Composed {
            subject: "lunch".into(),
            text: "12:30?\n\nat the corner".into(),
        });
        let lines = ["lunch", "12:30?", "", "at the corner", ".", "not read"];
        assert_eq!(compose(&mut Script(typed(&lines))), lunch);
        assert_eq!(compose(&mut Script(typed(&lines[..4]))), lunch);
    }

    #[test]
    fn what_was_dropped_or_never_written_is_not_sent() {
        assert_eq!(compose(&mut Script(typed(&[]))), None);
        assert_eq!(compose(&mut Script(typed(&["subject only"]))), None);
        assert_eq!(compose(&mut Script(typed(&["subject", "."]))), None);
        let mut lines = typed(&["subject", "text"]);
        lines.push_back(Typed::Interrupt);
        assert_eq!(compose(&mut Script(lines)), None);
    }
}
