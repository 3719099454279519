use std::io::{Read, Write, pipe};
use std::os::fd::AsFd;

use proptest::prelude::*;

use super::lines::{Lines, Tail};
use super::read::{Chunk, Reader};
use super::write::{Taken, Writer};
use super::*;

/// Puts `bytes` through a pipe into the log.
fn put(writer: &mut Writer, stream: Stream, bytes: &[u8], time: u64) {
    let (reader, mut sender) = pipe().unwrap();
    sender.write_all(bytes).unwrap();
    drop(sender);
    while writer.take(stream, reader.as_fd(), time).unwrap() != Taken::End {}
}

fn all(folder: &Path) -> Vec<Chunk> {
    let mut reader = Reader::new(folder);
    let mut chunks = Vec::new();
    while let Some(chunk) = reader.next_chunk().unwrap() {
        chunks.push(chunk);
    }
    chunks
}

fn stream_of(folder: &Path, stream: Stream) -> Vec<u8> {
    let chunks = all(folder).into_iter().filter(|c| c.stream == stream);
    chunks.flat_map(|c| c.bytes).collect()
}

#[test]
fn both_streams_come_back_in_order_with_their_times() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(folder.path()).unwrap();
    put(&mut writer, Stream::Stdout, b"out 1\n", 1_000_000_000);
    put(&mut writer, Stream::Stderr, b"err\n", 2_000_000_000);
    put(&mut writer, Stream::Stdout, b"out 2\n", 3_000_000_000);
    let seen: Vec<_> = all(folder.path())
        .into_iter()
        .map(|c| (c.stream, c.time_ns / 1_000_000_000, c.bytes))
        .collect();
    assert_eq!(
        seen,
        [
            (Stream::Stdout, 1, b"out 1\n".to_vec()),
            (Stream::Stderr, 2, b"err\n".to_vec()),
            (Stream::Stdout, 3, b"out 2\n".to_vec())
        ]
    );
}

#[test]
fn a_writer_that_was_killed_is_followed_by_another_without_loss_or_doubling() {
    let folder = tempfile::tempdir().unwrap();
    let (reader, mut sender) = pipe().unwrap();
    let mut expected = Vec::new();
    for i in 0..50_u64 {
        // Each writer is dropped with bytes left in the pipe, as by a kill.
        let line = format!("line {i}\n").repeat(300);
        sender.write_all(line.as_bytes()).unwrap();
        expected.extend(line.bytes());
        let mut writer = Writer::open(folder.path()).unwrap();
        writer.take(Stream::Stdout, reader.as_fd(), i).unwrap();
    }
    drop(sender);
    let mut writer = Writer::open(folder.path()).unwrap();
    while writer.take(Stream::Stdout, reader.as_fd(), 99).unwrap() != Taken::End {}
    assert_eq!(stream_of(folder.path(), Stream::Stdout), expected);
}

#[test]
fn segments_turn_over_and_the_oldest_goes() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::with_segment(folder.path(), 100).unwrap();
    for i in 0..20 {
        put(
            &mut writer,
            Stream::Stdout,
            format!("{i:039}\n").as_bytes(),
            i,
        );
    }
    assert_eq!(numbers(folder.path()).unwrap().len() as u64, KEEP);
    let text = String::from_utf8(stream_of(folder.path(), Stream::Stdout)).unwrap();
    let last: Vec<&str> = text.lines().rev().take(3).collect();
    let expected = [19, 18, 17].map(|i| format!("{i:039}"));
    assert_eq!(last, expected);
}

#[test]
fn a_reader_follows_over_the_border_of_segments() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::with_segment(folder.path(), 10).unwrap();
    let mut reader = Reader::new(folder.path());
    assert_eq!(reader.next_chunk().unwrap(), None);
    let mut seen = Vec::new();
    for i in 0..9 {
        put(
            &mut writer,
            Stream::Stdout,
            format!("number {i}\n").as_bytes(),
            i,
        );
        while let Some(chunk) = reader.next_chunk().unwrap() {
            seen.extend(chunk.bytes);
        }
    }
    let expected: String = (0..9).map(|i| format!("number {i}\n")).collect();
    assert_eq!(String::from_utf8(seen).unwrap(), expected);
}

#[test]
fn lines_of_two_streams_do_not_mix_and_the_last_may_lack_its_end() {
    let chunk = |stream, text: &str, time_ns| Chunk {
        stream,
        time_ns,
        bytes: text.into(),
    };
    let mut lines = Lines::default();
    let mut tail = Vec::new();
    lines.push(&chunk(Stream::Stdout, "gone\nhel", 1), &mut tail);
    lines.push(&chunk(Stream::Stderr, "err\n", 2), &mut tail);
    lines.push(&chunk(Stream::Stdout, "lo\nend", 3), &mut tail);
    lines.finish(&mut tail);
    let seen: Vec<_> = tail
        .into_iter()
        .map(|c| (c.time_ns, String::from_utf8(c.bytes).unwrap()))
        .collect();
    assert_eq!(
        seen,
        [
            (1, "gone\n".into()),
            (2, "err\n".into()),
            (1, "hello\n".into()),
            (3, "end".into())
        ]
    );
}

fn cut(path: &Path, length: u64) {
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(length).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// After a power cut both files may have any length: what is left of the data is read in order,
    /// and a writer goes on after it.
    #[test]
    fn files_that_were_cut_anywhere_are_still_read_and_continued(
        chunks in prop::collection::vec((any::<bool>(), "[a-z]{1,20}"), 1..12),
        data_cut: prop::sample::Index,
        index_cut: prop::sample::Index
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(folder.path()).unwrap();
        let mut written = Vec::new();
        for (i, (err, text)) in chunks.iter().enumerate() {
            let stream = if *err { Stream::Stderr } else { Stream::Stdout };
            put(&mut writer, stream, text.as_bytes(), i as u64 * 10_000_000);
            written.extend(text.bytes());
        }
        drop(writer);
        let (data, index) = (data_path(folder.path(), 1), index_path(folder.path(), 1));
        let left = data_cut.index(written.len() + 1);
        cut(&data, left as u64);
        let index_length = std::fs::metadata(&index).unwrap().len() as usize;
        cut(&index, index_cut.index(index_length + 1) as u64);
        let read: Vec<u8> = all(folder.path()).into_iter().flat_map(|c| c.bytes).collect();
        prop_assert_eq!(&read, &written[..left]);
        let mut writer = Writer::open(folder.path()).unwrap();
        put(&mut writer, Stream::Stderr, b"more", u64::MAX);
        let chunks = all(folder.path());
        let read: Vec<u8> = chunks.iter().flat_map(|c| c.bytes.clone()).collect();
        prop_assert_eq!(&read, &[&written[..left], b"more"].concat());
        let err = stream_of(folder.path(), Stream::Stderr);
        prop_assert!(err.ends_with(b"more"));
    }

    #[test]
    fn no_bytes_in_the_index_make_the_reader_fail(
        data in prop::collection::vec(any::<u8>(), 0..200),
        index in prop::collection::vec(any::<u8>(), 0..200)
    ) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(data_path(folder.path(), 1), &data).unwrap();
        std::fs::write(index_path(folder.path(), 1), &index).unwrap();
        let read: Vec<u8> = all(folder.path()).into_iter().flat_map(|c| c.bytes).collect();
        prop_assert_eq!(read, data);
    }
}

#[test]
fn the_pipe_is_left_alone_when_nothing_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(folder.path()).unwrap();
    let (mut reader, mut sender) = pipe().unwrap();
    rustix::io::ioctl_fionbio(&reader, true).unwrap();
    let taken = writer.take(Stream::Stdout, reader.as_fd(), 1).unwrap();
    assert_eq!(taken, Taken::Nothing);
    sender.write_all(b"x").unwrap();
    let mut byte = [0];
    reader.read_exact(&mut byte).unwrap();
}

#[test]
fn a_reader_that_was_overtaken_says_so_once_and_one_that_kept_up_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::with_segment(folder.path(), 100).unwrap();
    let mut reader = Reader::new(folder.path());
    let fill = |writer: &mut Writer, segments: usize| {
        for _ in 0..segments {
            put(writer, Stream::Stdout, &[b'x'; 100], 1);
        }
    };
    let gaps = |reader: &mut Reader| {
        let mut gaps = 0;
        while let Some(chunk) = reader.next_chunk().unwrap() {
            gaps += usize::from(chunk.bytes == read::GAP);
        }
        gaps
    };
    for _ in 0..4 {
        fill(&mut writer, 2);
        assert_eq!(gaps(&mut reader), 0);
    }
    fill(&mut writer, 10);
    assert_eq!(gaps(&mut reader), 1);
    assert_eq!(gaps(&mut reader), 0);
}

#[test]
fn a_tail_is_found_by_counting_and_passes_what_comes_after_only_when_followed() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(folder.path()).unwrap();
    put(&mut writer, Stream::Stdout, b"1\n2\n3\nopen", 5);
    let passed = |since, limit, follow| {
        let mut tail = Tail::measure(folder.path(), since, limit, follow).unwrap();
        let (mut lines, mut out) = (Lines::default(), Vec::new());
        for chunk in all(folder.path()) {
            lines.push(&chunk, &mut out);
        }
        lines.finish(&mut out);
        out.push(Chunk {
            stream: Stream::Stdout,
            time_ns: 9,
            bytes: b"later".into(),
        });
        out.retain(|l| l.time_ns >= since);
        tail.filter(&mut out);
        let texts = out.into_iter().map(|l| String::from_utf8(l.bytes).unwrap());
        texts.collect::<Vec<_>>().join("|")
    };
    assert_eq!(passed(0, 2, false), "3\n|open");
    assert_eq!(passed(0, u64::MAX, false), "1\n|2\n|3\n|open");
    assert_eq!(passed(0, 0, false), "");
    assert_eq!(passed(0, 1, true), "3\n|open|later");
    assert_eq!(passed(0, 0, true), "open|later");
    // Nothing of what it has counted is kept.
    assert!(!std::mem::needs_drop::<Tail>());
}
