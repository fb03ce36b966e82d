//! Reads Python literals, character by character: brackets, names, text in quotes, calls; errors with the position.

use crate::error::{Error, Result, cut};

/// The calls in which Python, NumPy and PyTorch print lists and numbers.
const WRAPPERS: &[&str] =
    &["list", "tuple", "array", "asarray", "tensor", "int", "int32", "int64", "float", "float32", "float64"];

/// A name and its position.
pub(super) struct Word {
    pub(super) at: usize,
    pub(super) text: String,
}

pub(super) struct Parser {
    pub(super) text: Vec<char>,
    /// The character to read next.
    pub(super) at: usize,
}

impl Parser {
    /// What `inner` reads, inside of any number of calls such as `tensor(…, device='cpu')`.
    pub(super) fn wrapped<T>(
        &mut self,
        expected: &str,
        own: &[&str],
        inner: impl Fn(&mut Parser) -> Result<T>,
    ) -> Result<T> {
        let mut calls = 0;
        loop {
            self.skip_space();
            let begin = self.at;
            if !self.text.get(begin).is_some_and(|character| character.is_alphabetic()) {
                break;
            }
            let name = self.call();
            if name.as_ref().is_some_and(|name| own.contains(&name.as_str())) {
                self.at = begin;
                break;
            }
            if !name.is_some_and(|name| WRAPPERS.contains(&name.as_str())) {
                self.at = begin;
                let word = self.name(expected)?;
                return Err(self.wrong(begin, &format!("expected {expected}, found `{}`", cut(&word.text))));
            }
            calls += 1;
        }
        let value = inner(self)?;
        for _ in 0..calls {
            if self.accept(',') {
                self.take(|character| character != ')'); // dtype=int64, device='cuda:0'
            }
            self.expect(')')?;
        }
        Ok(value)
    }

    /// The last name of a dotted one that a bracket follows, and passes over the bracket.
    pub(super) fn call(&mut self) -> Option<String> {
        let name = self.take(|character| is_of_name(character) || character == '.');
        let last = name.rsplit('.').next().unwrap_or_default().to_string();
        (self.accept('(') && !name.is_empty()).then_some(last)
    }

    /// An opening bracket; returns the one that closes it.
    pub(super) fn open(&mut self) -> Result<char> {
        if self.accept('[') {
            Ok(']')
        } else if self.accept('(') {
            Ok(')')
        } else {
            Err(self.missing("`[` or `(`"))
        }
    }

    /// Text in quotes; the position is that of its first character.
    pub(super) fn quoted(&mut self, expected: &str) -> Result<Word> {
        self.skip_space();
        let is_quote = |at: usize| self.text.get(at).is_some_and(|character| "'\"".contains(*character));
        self.at += usize::from(self.text.get(self.at) == Some(&'u') && is_quote(self.at + 1)); // Python 2
        let Some(quote) = self.text.get(self.at).copied().filter(|character| "'\"".contains(*character)) else {
            return Err(self.missing(expected));
        };
        let at = self.at + 1;
        let Some(length) = self.text[at..].iter().position(|character| *character == quote) else {
            return Err(self.wrong(self.at, "this quote is never closed"));
        };
        self.at = at + length + 1;
        Ok(Word { at, text: self.text[at..at + length].iter().collect() })
    }

    pub(super) fn name(&mut self, expected: &str) -> Result<Word> {
        self.skip_space();
        let at = self.at;
        let text = self.take(is_of_name);
        if text.is_empty() { Err(self.missing(expected)) } else { Ok(Word { at, text }) }
    }

    pub(super) fn take(&mut self, belongs: impl Fn(char) -> bool) -> String {
        let taken: String = self.text[self.at..].iter().take_while(|character| belongs(**character)).collect();
        self.at += taken.chars().count();
        taken
    }

    pub(super) fn accept(&mut self, character: char) -> bool {
        self.skip_space();
        let found = self.text.get(self.at) == Some(&character);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, character: char) -> Result<()> {
        if self.accept(character) { Ok(()) } else { Err(self.missing(&format!("`{character}`"))) }
    }

    /// Passes over white space and comments.
    pub(super) fn skip_space(&mut self) {
        self.take(char::is_whitespace);
        while self.text.get(self.at) == Some(&'#') {
            self.take(|character| character != '\n');
            self.take(char::is_whitespace);
        }
    }

    /// The error for a character other than the expected one, or for the end of the text.
    pub(super) fn missing(&self, expected: &str) -> Error {
        let found = match self.text.get(self.at) {
            Some(character) => format!("`{character}`"),
            None => "the end".to_string(),
        };
        self.wrong(self.at, &format!("expected {expected}, found {found}"))
    }

    /// Positions are counted from 1.
    pub(super) fn wrong(&self, at: usize, detail: &str) -> Error {
        Error::genotype(format!("at character {}: {detail}", at + 1))
    }
}

/// Whether a name may contain a character.
pub(super) fn is_of_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}
