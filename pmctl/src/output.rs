//! Standard output, by way of a thread.
//!
//! A pager that waits for its reader stops taking output. A command that then waited with a walk
//! open would hold back the pages of a store in use, which would grow. So the output of up to 256
//! MiB (some millions of devices) is kept in memory, and the walk ends.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::{self, JoinHandle};

use pool_metadata::DeviceState;

use crate::failure::{Failure, Result};

const CHUNK: usize = 64 << 10;
const CHUNKS: usize = 4096;

/// Lines for standard output.
pub struct Output {
    buffer: Vec<u8>,
    sender: Option<SyncSender<Vec<u8>>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Output {
    pub fn new() -> Output {
        let (sender, receiver) = mpsc::sync_channel(CHUNKS);
        Output {
            buffer: Vec::new(),
            sender: Some(sender),
            thread: Some(thread::spawn(move || write_all(&receiver))),
        }
    }

    /// Adds a line.
    pub fn line(&mut self, line: &str) -> Result<()> {
        self.buffer.extend_from_slice(line.as_bytes());
        self.buffer.push(b'\n');
        if self.buffer.len() >= CHUNK {
            self.flush()?;
        }
        Ok(())
    }

    /// Hands on what there is.
    pub fn flush(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::take(&mut self.buffer);
        let gone = self
            .sender
            .as_ref()
            .is_none_or(|sender| sender.send(chunk).is_err());
        if gone {
            // The thread has ended, so it has failed.
            return self.join();
        }
        Ok(())
    }

    /// Waits until everything is written.
    pub fn finish(mut self) -> Result<()> {
        self.flush()?;
        self.join()
    }

    fn join(&mut self) -> Result<()> {
        self.sender = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(Err(error))) => Err(Failure::of_output(&error)),
            Some(Ok(Ok(()))) => Ok(()),
            Some(Err(_)) | None => Err(Failure::OutputClosed),
        }
    }
}

fn write_all(receiver: &Receiver<Vec<u8>>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for chunk in receiver {
        out.write_all(&chunk)?;
        out.flush()?;
    }
    Ok(())
}

/// When colours are used.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    Always,
    Never,
}

/// How a text stands out, where colours are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    #[default]
    Plain,
    Bold,
    Bad,
    Passing,
    Good,
}

/// Puts texts into colours, or leaves them as they are.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    on: bool,
}

impl Paint {
    pub fn new(color: Color) -> Paint {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Paint {
            on: match color {
                Color::Auto => io::stdout().is_terminal() && !unwanted,
                Color::Always => true,
                Color::Never => false,
            },
        }
    }

    pub fn paint(self, style: Style, text: &str) -> String {
        let code = match style {
            _ if !self.on => return text.to_owned(),
            Style::Plain => return text.to_owned(),
            Style::Bold => 1,
            Style::Bad => 31,
            Style::Good => 32,
            Style::Passing => 33,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// How a state stands out: faulty ones, and those that a crash can have left behind.
pub fn style_of(state: DeviceState) -> Style {
    match state {
        DeviceState::Faulty => Style::Bad,
        DeviceState::Creating
        | DeviceState::Activating
        | DeviceState::Suspending
        | DeviceState::Resuming
        | DeviceState::Deactivating
        | DeviceState::Removing => Style::Passing,
        _ => Style::Plain,
    }
}
