//! A line that somebody types at a terminal: editing, history, completion.
//!
//! Pure: bytes in, an event and the bytes to draw out.

/// Lines that are remembered.
const HISTORY: usize = 100;
/// Longest line, in signs.
const LONGEST: usize = 4096;

/// What a key came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A line is complete.
    Line(String),
    /// Ctrl-C: the line is thrown away.
    Interrupt,
    /// Ctrl-D on an empty line.
    End,
    /// Tab: the first word as far as it is typed; answer with [`Editor::complete`].
    Complete(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escape {
    None,
    Begun,
    Bracket,
    Parameter,
}

/// The line as it is typed.
#[derive(Debug)]
pub struct Editor {
    prompt: String,
    line: Vec<char>,
    at: usize,
    history: Vec<String>,
    shown: usize,
    escape: Escape,
    partial: Vec<u8>,
    after_return: bool,
    /// What is to be drawn since it was last taken.
    out: Vec<u8>,
}

impl Editor {
    /// An empty line after this prompt.
    #[must_use]
    pub fn new(prompt: &str) -> Self {
        Self {
            prompt: prompt.to_owned(),
            line: Vec::new(),
            at: 0,
            history: Vec::new(),
            shown: 0,
            escape: Escape::None,
            partial: Vec::new(),
            after_return: false,
            out: Vec::new(),
        }
    }

    /// Shows the prompt.
    pub fn begin(&mut self) {
        self.set("");
    }

    /// What is to be sent to the terminal.
    pub fn drawn(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Takes one byte from the keyboard.
    pub fn key(&mut self, byte: u8) -> Option<Event> {
        let after_return = std::mem::replace(&mut self.after_return, byte == b'\r');
        if self.escape != Escape::None {
            self.escaped(byte);
            return None;
        }
        match byte {
            b'\n' if after_return => {}
            b'\r' | b'\n' => return Some(self.enter()),
            1 => self.go(0),
            2 => self.go(self.at.saturating_sub(1)),
            3 => {
                self.out.extend(b"^C\r\n");
                return Some(Event::Interrupt);
            }
            4 if self.line.is_empty() => return Some(Event::End),
            4 => self.delete(self.at..self.at + 1),
            5 => self.go(self.line.len()),
            6 => self.go(self.at + 1),
            8 | 127 => self.delete(self.at.saturating_sub(1)..self.at),
            9 => return self.tab(),
            11 => self.delete(self.at..self.line.len()),
            12 => {
                self.out.extend(b"\x1b[H\x1b[2J");
                self.draw();
            }
            14 => self.recall(self.shown + 1),
            16 => self.recall(self.shown.wrapping_sub(1)),
            21 => self.delete(0..self.at),
            23 => self.delete(self.word_before()..self.at),
            27 => self.escape = Escape::Begun,
            0..=31 => {}
            byte => self.text(byte),
        }
        None
    }

    /// Answers a tab with all words that fit.
    pub fn complete(&mut self, words: &[&str]) {
        let typed = self.at;
        match words {
            [] => {}
            [word] => self.type_all(&format!("{} ", word.get(typed..).unwrap_or(""))),
            [first, ..] => {
                let common = first
                    .char_indices()
                    .map(|(at, c)| at + c.len_utf8())
                    .take_while(|end| {
                        words
                            .iter()
                            .all(|word| word.get(..*end) == first.get(..*end))
                    });
                let common = common.last().unwrap_or(0);
                if common > typed {
                    self.type_all(&first[typed..common]);
                } else {
                    self.out
                        .extend(format!("\r\n{}\r\n", words.join("  ")).bytes());
                    self.draw();
                }
            }
        }
    }

    fn enter(&mut self) -> Event {
        self.out.extend(b"\r\n");
        let line: String = self.line.iter().collect();
        if !line.trim().is_empty() && self.history.last() != Some(&line) {
            self.history.push(line.clone());
            let beyond = self.history.len().saturating_sub(HISTORY);
            self.history.drain(..beyond);
        }
        self.shown = self.history.len();
        Event::Line(line)
    }

    fn tab(&self) -> Option<Event> {
        let is_first = self.at == self.line.len() && !self.line.contains(&' ');
        is_first.then(|| Event::Complete(self.line.iter().collect()))
    }

    fn escaped(&mut self, byte: u8) {
        self.escape = match (self.escape, byte) {
            (Escape::Begun, b'[' | b'O') => Escape::Bracket,
            (Escape::Bracket, b'0'..=b'9') => {
                if byte == b'3' {
                    self.delete(self.at..self.at + 1);
                }
                Escape::Parameter
            }
            (Escape::Parameter, b'0'..=b'9' | b';') => Escape::Parameter,
            (Escape::Bracket, arrow) => {
                match arrow {
                    b'A' => self.recall(self.shown.wrapping_sub(1)),
                    b'B' => self.recall(self.shown + 1),
                    b'C' => self.go(self.at + 1),
                    b'D' => self.go(self.at.saturating_sub(1)),
                    b'H' => self.go(0),
                    b'F' => self.go(self.line.len()),
                    _ => {}
                }
                Escape::None
            }
            _ => Escape::None,
        };
    }

    /// Collects the bytes of one sign; what is no UTF-8 is dropped.
    fn text(&mut self, byte: u8) {
        self.partial.push(byte);
        match std::str::from_utf8(&self.partial) {
            Ok(text) => {
                let text = text.to_owned();
                self.partial.clear();
                self.type_all(&text);
            }
            Err(e) if e.error_len().is_some() || self.partial.len() >= 4 => self.partial.clear(),
            Err(_) => {}
        }
    }

    fn type_all(&mut self, text: &str) {
        for sign in text.chars().filter(|c| !c.is_control()) {
            if self.line.len() < LONGEST {
                self.line.insert(self.at, sign);
                self.at += 1;
            }
        }
        if self.at == self.line.len() {
            self.out.extend(text.bytes());
        } else {
            self.draw();
        }
    }

    fn delete(&mut self, range: std::ops::Range<usize>) {
        let range = range.start..range.end.min(self.line.len());
        if range.start < range.end {
            self.at = range.start;
            self.line.drain(range);
            self.draw();
        }
    }

    fn word_before(&self) -> usize {
        let before = &self.line[..self.at];
        let end = before
            .iter()
            .rposition(|c| *c != ' ')
            .map_or(0, |at| at + 1);
        before[..end]
            .iter()
            .rposition(|c| *c == ' ')
            .map_or(0, |at| at + 1)
    }

    fn go(&mut self, to: usize) {
        self.at = to.min(self.line.len());
        self.draw();
    }

    fn recall(&mut self, index: usize) {
        if index <= self.history.len() {
            self.shown = index;
            let line = self.history.get(index).cloned().unwrap_or_default();
            self.set(&line);
        }
    }

    fn set(&mut self, line: &str) {
        self.line = line.chars().collect();
        self.at = self.line.len();
        self.draw();
    }

    fn draw(&mut self) {
        let line: String = self.line.iter().collect();
        self.out
            .extend(format!("\r\x1b[K{}{line}", self.prompt).bytes());
        let back = self.line.len() - self.at;
        if back > 0 {
            self.out.extend(format!("\x1b[{back}D").bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn typed(editor: &mut Editor, keys: &str) -> Vec<Event> {
        keys.bytes().filter_map(|byte| editor.key(byte)).collect()
    }

    fn line(keys: &str) -> String {
        let mut editor = Editor::new("> ");
        match typed(&mut editor, &format!("{keys}\r")).pop() {
            Some(Event::Line(line)) => line,
            other => panic!("{keys:?}: {other:?}"),
        }
    }

    #[test]
    fn keys_edit_as_people_are_used_to() {
        for (keys, expected) in [
            ("status", "status"),
            ("stau\x7ftus", "status"),
            ("atus\x01st", "status"),
            ("tatus\x1b[Hs\x1b[F!", "status!"),
            ("sttatus\x01\x06\x06\x04", "status"),
            ("logs web\x17db", "logs db"),
            ("wrong\x15ps", "ps"),
            ("ps -a\x02\x02\x0b", "ps "),
            ("a\x1b[Db", "ba"),
            ("ab\x1b[D\x1b[3~", "a"),
            ("grüße", "grüße"),
            ("x\x1b[1;5Cy", "xy"),
        ] {
            assert_eq!(line(keys), expected, "{keys:?}");
        }
    }

    #[test]
    fn arrows_bring_back_what_was_typed() {
        let mut editor = Editor::new("> ");
        editor.begin();
        typed(&mut editor, "ps\r");
        editor.begin();
        typed(&mut editor, "status\r");
        editor.begin();
        let lines = typed(&mut editor, "\x1b[A\x1b[A\x1b[A\r");
        assert_eq!(lines, [Event::Line("ps".to_owned())]);
        editor.begin();
        let lines = typed(&mut editor, "\x1b[A\x1b[A\x1b[B\x1b[B\r");
        assert_eq!(lines, [Event::Line(String::new())]);
    }

    #[test]
    fn a_line_ends_once_whatever_the_terminal_sends_for_return() {
        let mut editor = Editor::new("> ");
        assert_eq!(typed(&mut editor, "a\r\nb\n").len(), 2);
    }

    #[test]
    fn ends_and_interrupts_are_told() {
        let mut editor = Editor::new("> ");
        assert_eq!(typed(&mut editor, "x\x03"), [Event::Interrupt]);
        editor.begin();
        assert_eq!(typed(&mut editor, "\x04"), [Event::End]);
    }

    #[test]
    fn a_tab_goes_on_as_far_as_all_agree() {
        let mut editor = Editor::new("> ");
        assert_eq!(
            typed(&mut editor, "st\t"),
            [Event::Complete("st".to_owned())]
        );
        editor.complete(&["start", "status", "stop"]);
        assert!(
            String::from_utf8(editor.drawn())
                .unwrap()
                .contains("start  status  stop")
        );
        typed(&mut editor, "a");
        editor.complete(&["start", "status"]);
        assert_eq!(editor.line.iter().collect::<String>(), "sta");
        typed(&mut editor, "tu");
        editor.complete(&["status"]);
        assert_eq!(
            typed(&mut editor, "\r"),
            [Event::Line("status ".to_owned())]
        );
    }

    proptest! {
        #[test]
        fn no_key_is_too_odd(keys in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut editor = Editor::new("> ");
            for key in keys {
                if let Some(Event::Complete(_)) = editor.key(key) {
                    editor.complete(&["start", "status"]);
                }
                prop_assert!(editor.at <= editor.line.len());
            }
        }
    }
}
