//! Reads the paper's notation of a genotype, `Genotype(normal=[('sep_conv_3x3', 1), …], normal_concat=range(2, 6), …)`.
//!
//! The text is parsed, never evaluated. Lists and tuples, either quote, any white space, trailing commas, and a name
//! with an equals sign in front are accepted; an error says at which character the text goes wrong.

use std::ops::Range;

use super::genotype::{CONVOLUTIONAL, Holds, Part, RECURRENT};
use super::{Gene, Genotype, Operation};
use crate::error::{Error, Result, cut, unknown};

/// Node numbers above this are refused as they are read: no cell has them, and a range of them would fill the memory.
const HIGHEST_NODE: usize = 999;

/// The genotype of a text.
pub(super) fn parse(text: &str) -> Result<Genotype> {
    let mut parser = Parser { text: text.chars().collect(), at: 0 };
    let mut name = parser.name("`Genotype`")?;
    if parser.accept('=') {
        name = parser.name("`Genotype`")?;
    }
    if name.text != "Genotype" {
        return Err(parser.wrong(name.at, &format!("expected `Genotype`, found `{}`", cut(&name.text))));
    }
    parser.expect('(')?;
    let mut given: Vec<Argument> = Vec::new();
    while !parser.accept(')') {
        let argument = parser.argument()?;
        let Word { at, text } = &argument.key;
        if given.iter().any(|other| other.key.text == *text) {
            return Err(parser.wrong(*at, &format!("`{text}` stands twice")));
        }
        given.push(argument);
        if !parser.accept(',') {
            parser.expect(')')?;
            break;
        }
    }
    let closed = parser.at - 1;
    parser.skip_space();
    if let Some(character) = parser.text.get(parser.at) {
        return Err(parser.wrong(parser.at, &format!("nothing may follow the genotype, found `{character}`")));
    }
    let parts = given.iter().map(|argument| (argument.key.text.as_str(), argument.part.clone()));
    Genotype::from_parts(parts.collect()).map_err(|flaw| {
        let argument = given.iter().find(|argument| argument.key.text == flaw.key);
        let entry = argument.zip(flaw.entry).and_then(|(argument, entry)| argument.entries.get(entry));
        // A key that is missing was missed at the closing bracket.
        let at = entry.copied().or(argument.map(|argument| argument.key.at)).unwrap_or(closed);
        parser.wrong(at, &flaw.detail)
    })
}

/// A key, what stands behind it, and where each of its entries begins.
struct Argument {
    key: Word,
    part: Part,
    entries: Vec<usize>,
}

/// A name and where it begins.
struct Word {
    at: usize,
    text: String,
}

struct Parser {
    text: Vec<char>,
    /// The character to read next.
    at: usize,
}

impl Parser {
    /// key=value
    fn argument(&mut self) -> Result<Argument> {
        let key = self.name("a name such as `normal`")?;
        let mut keys = CONVOLUTIONAL.iter().chain(RECURRENT);
        let Some((_, holds)) = keys.find(|(known, _)| *known == key.text) else {
            let known: Vec<&str> = CONVOLUTIONAL.iter().chain(RECURRENT).map(|(known, _)| *known).collect();
            return Err(self.wrong(key.at, &unknown("key of a genotype", &key.text, &known)));
        };
        self.expect('=')?;
        let (entries, part) = match holds {
            Holds::Genes => {
                let (entries, genes) = self.list(Parser::gene)?.into_iter().unzip();
                (entries, Part::Genes(genes))
            }
            Holds::Nodes => {
                let (entries, nodes) = self.nodes()?.into_iter().unzip();
                (entries, Part::Nodes(nodes))
            }
        };
        Ok(Argument { key, part, entries })
    }

    /// ('operation', node)
    fn gene(&mut self) -> Result<Gene> {
        let close = self.open()?;
        let operation = self.operation()?;
        self.expect(',')?;
        let node = self.node()?;
        self.accept(',');
        self.expect(close)?;
        Ok(Gene { operation, node })
    }

    /// range(low, high) or a list of numbers
    fn nodes(&mut self) -> Result<Vec<(usize, usize)>> {
        self.skip_space();
        if !self.text.get(self.at).is_some_and(|character| character.is_alphabetic()) {
            return self.list(Parser::node);
        }
        let word = self.name("`range` or a list")?;
        if word.text != "range" {
            return Err(self.wrong(word.at, &format!("expected `range` or a list, found `{}`", cut(&word.text))));
        }
        self.expect('(')?;
        let first = self.node()?;
        let range: Range<usize> = if self.accept(',') { first..self.node()? } else { 0..first };
        self.expect(')')?;
        Ok(range.map(|node| (word.at, node)).collect())
    }

    /// Items between brackets, separated by commas, each with where it begins.
    fn list<T>(&mut self, item: impl Fn(&mut Parser) -> Result<T>) -> Result<Vec<(usize, T)>> {
        let close = self.open()?;
        let mut items = Vec::new();
        while !self.accept(close) {
            let begin = self.at; // `accept` has passed over the space before it
            items.push((begin, item(self)?));
            if !self.accept(',') {
                self.expect(close)?;
                break;
            }
        }
        Ok(items)
    }

    /// An opening bracket; returns the one that closes it.
    fn open(&mut self) -> Result<char> {
        if self.accept('[') {
            Ok(']')
        } else if self.accept('(') {
            Ok(')')
        } else {
            Err(self.missing("`[` or `(`"))
        }
    }

    fn operation(&mut self) -> Result<Operation> {
        self.skip_space();
        let Some(quote) = self.text.get(self.at).copied().filter(|character| "'\"".contains(*character)) else {
            return Err(self.missing("an operation in quotes"));
        };
        let begin = self.at + 1;
        let length = self.text[begin..].iter().position(|character| *character == quote);
        let Some(length) = length else {
            return Err(self.wrong(self.at, "this quote is never closed"));
        };
        let name: String = self.text[begin..begin + length].iter().collect();
        self.at = begin + length + 1;
        Operation::parse(&name).map_err(|error| self.wrong(begin, &error.detail))
    }

    fn node(&mut self) -> Result<usize> {
        self.skip_space();
        let begin = self.at;
        let digits = self.take(|character| character.is_ascii_digit());
        if digits.is_empty() {
            return Err(self.missing("a node number"));
        }
        digits
            .parse()
            .ok()
            .filter(|node| *node <= HIGHEST_NODE)
            .ok_or_else(|| self.wrong(begin, &format!("node number {} is larger than any cell's", cut(&digits))))
    }

    fn name(&mut self, expected: &str) -> Result<Word> {
        self.skip_space();
        let at = self.at;
        let text = self.take(|character| character.is_alphanumeric() || character == '_');
        if text.is_empty() { Err(self.missing(expected)) } else { Ok(Word { at, text }) }
    }

    fn take(&mut self, belongs: impl Fn(char) -> bool) -> String {
        let taken: String = self.text[self.at..].iter().take_while(|character| belongs(**character)).collect();
        self.at += taken.chars().count();
        taken
    }

    fn accept(&mut self, character: char) -> bool {
        self.skip_space();
        let found = self.text.get(self.at) == Some(&character);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, character: char) -> Result<()> {
        if self.accept(character) { Ok(()) } else { Err(self.missing(&format!("`{character}`"))) }
    }

    fn skip_space(&mut self) {
        self.take(char::is_whitespace);
    }

    /// Something else stands here, or the text ends.
    fn missing(&self, expected: &str) -> Error {
        let found = match self.text.get(self.at) {
            Some(character) => format!("`{character}`"),
            None => "the end".to_string(),
        };
        self.wrong(self.at, &format!("expected {expected}, found {found}"))
    }

    /// Positions are counted from 1.
    fn wrong(&self, at: usize, detail: &str) -> Error {
        Error::genotype(format!("at character {}: {detail}", at + 1))
    }
}
