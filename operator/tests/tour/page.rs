//! The page: text, and blocks of a command with what it says.

/// A command and what it says.
pub(crate) struct Block {
    pub(crate) command: String,
    pub(crate) said: String,
}

enum Part {
    Text(String),
    Commands(Vec<Block>),
}

/// The page.
pub(crate) struct Page(Vec<Part>);

const BEGIN: &str = "```console\n";
const END: &str = "```\n";

impl Page {
    pub(crate) fn read(text: &str) -> Self {
        let mut parts = Vec::new();
        for (index, piece) in text.split(BEGIN).enumerate() {
            let mut rest = piece;
            if index > 0 {
                let (block, after) = piece.split_once(END).unwrap();
                parts.push(Part::Commands(blocks(block)));
                rest = after;
            }
            parts.push(Part::Text(rest.to_owned()));
        }
        Self(parts)
    }

    pub(crate) fn blocks(&mut self) -> impl Iterator<Item = &mut Block> {
        self.0.iter_mut().flat_map(|part| match part {
            Part::Commands(blocks) => blocks.iter_mut(),
            Part::Text(_) => [].iter_mut(),
        })
    }

    pub(crate) fn write(&self) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Commands(blocks) => {
                let block = |block: &Block| format!("$ {}\n{}", block.command, block.said);
                let blocks: String = blocks.iter().map(block).collect();
                format!("{BEGIN}{blocks}{END}")
            }
        };
        self.0.iter().map(part).collect()
    }
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("$ "), blocks.last_mut()) {
            (Some(command), _) => blocks.push(Block {
                command: command.to_owned(),
                said: String::new(),
            }),
            (None, Some(last)) => last.said += &format!("{line}\n"),
            (None, None) => panic!("`{line}` follows no command"),
        }
    }
    blocks
}

/// What has to be the same in every run: words, without figures, units of time and what is drawn.
pub(crate) fn words(text: &str) -> String {
    const UNITS: [&str; 8] = ["ms", "s", "min", "h", "d", "B", "k", "%"];
    let is_drawn = |c: char| ('\u{2500}'..='\u{259f}').contains(&c) || c == '·';
    let plain: String = text.chars().filter(|&c| !is_drawn(c)).collect();
    // A time as well, which may be broken between two lines.
    let plain = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    let plain = plain.replace("less than a second", "");
    let words = plain.split_whitespace().filter(|word| {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        let is_figure = bare.chars().any(|c| c.is_ascii_digit());
        !is_figure && !bare.is_empty() && !UNITS.contains(&bare)
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_page_is_written_as_it_was_read() {
    let text = "# A\n\n```console\n$ a b\nx 1\ny\n$ c &\n```\n\nz\n\n```yaml\nq: 1\n```\n";
    let mut page = Page::read(text);
    assert_eq!(page.write(), text);
    let commands: Vec<&str> = page.blocks().map(|block| &*block.command).collect();
    assert_eq!(commands, ["a b", "c &"]);
}

#[test]
fn figures_may_differ_and_words_may_not() {
    let same = words("applied 1,200 in 3.5 s  ██░ consumer-0123 at 10:00");
    assert_eq!(same, words("applied 7 in 12 ms ██ consumer-4567 at 11:01"));
    assert_eq!(
        words("in 3 s or so"),
        words("in less than\n  a second or so")
    );
    assert_ne!(same, words("refused 1,200 in 3.5 s consumer-0123 at 10:00"));
}
