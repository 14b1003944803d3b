//! What the reader's terminal can show: colour, Unicode, width.

/// How text is drawn. [`Style::plain`] is right for files, pipes and tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Whether ANSI colour may be used.
    pub colour: bool,
    /// Whether characters beyond ASCII may be used.
    pub unicode: bool,
    /// How many columns a line has.
    pub width: usize,
    /// Whether more detail was asked for (`-v`).
    pub verbose: bool,
    /// The character that begins a colour: ESC, or a placeholder for it until the surrounding text was made harmless.
    pub escape: char,
}

/// The meaning of a coloured word; the text must be clear without the colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// Something stopped or failed.
    Bad,
    /// Worth a look.
    Warn,
    /// Less important than its surroundings.
    Dim,
    /// A heading.
    Strong,
}

impl Style {
    /// Returns a style with no colour, ASCII only, 100 columns and normal detail.
    pub fn plain() -> Self {
        Self { colour: false, unicode: false, width: 100, verbose: false, escape: '\x1b' }
    }

    /// Paints `text` in the colour of `tone`, or returns it as it is if colour is off.
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Warn => "33",
            Tone::Dim => "2",
            Tone::Strong => "1",
        };
        let escape = self.escape;
        format!("{escape}[{code}m{text}{escape}[0m")
    }

    /// Returns `unicode` if the locale supports it, else `ascii`.
    pub fn either<'a>(&self, unicode: &'a str, ascii: &'a str) -> &'a str {
        if self.unicode { unicode } else { ascii }
    }
}
