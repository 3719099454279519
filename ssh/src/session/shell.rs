//! A session without a command: a prompt where there is a terminal, else a command a line.
//!
//! One command after the other; there are no jobs.

use russh::ChannelMsg;

use super::Session;
use crate::command::{self, Action};
use crate::prompt::{Editor, Event};
use crate::words;

impl Session {
    /// Takes commands until the client leaves; the last one's exit status, or none if it has gone.
    pub(super) async fn shell(&mut self) -> Option<u32> {
        match self.terminal {
            Some(_) => self.at_a_prompt().await,
            None => self.line_by_line().await,
        }
    }

    async fn at_a_prompt(&mut self) -> Option<u32> {
        let host = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned();
        let prompt = format!("{}@{host}> ", self.person.name);
        self.say("Skeg. \"help\" lists the commands, Ctrl-D leaves.\n")
            .await;
        let mut editor = Editor::new(&prompt);
        editor.begin();
        let mut last = 0;
        loop {
            self.draw(&mut editor).await;
            let data = match self.from.wait().await? {
                ChannelMsg::Data { data } => data,
                ChannelMsg::WindowChange {
                    col_width,
                    row_height,
                    ..
                } => {
                    if let Some((_, size)) = &mut self.terminal {
                        (size.columns, size.rows) = (col_width, row_height);
                    }
                    continue;
                }
                ChannelMsg::Eof => return Some(last),
                ChannelMsg::Close => return None,
                _ => continue,
            };
            for byte in data {
                match editor.key(byte) {
                    None => {}
                    Some(Event::Interrupt) => editor.begin(),
                    Some(Event::End) => {
                        self.say("\n").await;
                        return Some(last);
                    }
                    Some(Event::Complete(typed)) => {
                        editor.complete(&command::completions(&typed, &self.person));
                    }
                    Some(Event::Line(line)) => {
                        self.draw(&mut editor).await;
                        if command::decide(&line, &self.person) == Action::Leave {
                            return Some(last);
                        }
                        last = self.run(&line).await?;
                        editor.begin();
                    }
                }
            }
        }
    }

    async fn draw(&self, editor: &mut Editor) {
        let _ = self.to.data_bytes(editor.drawn()).await;
    }

    /// Input that comes while a command runs is that command's.
    async fn line_by_line(&mut self) -> Option<u32> {
        let mut typed: Vec<u8> = Vec::new();
        let mut last = 0;
        loop {
            let is_last = match self.from.wait().await? {
                ChannelMsg::Data { data } => {
                    typed.extend_from_slice(&data);
                    false
                }
                ChannelMsg::Eof => true,
                ChannelMsg::Close => return None,
                _ => continue,
            };
            if is_last {
                typed.push(b'\n');
            }
            while let Some(end) = typed.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = typed.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line).into_owned();
                if command::decide(&line, &self.person) == Action::Leave {
                    return Some(last);
                }
                if !line.trim().is_empty() {
                    last = self.run(&line).await?;
                }
            }
            if is_last || typed.len() > words::LONGEST {
                return Some(last);
            }
        }
    }
}
