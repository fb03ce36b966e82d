//! The published notation of a genotype, `Genotype(normal=[('sep_conv_3x3', 1), …], normal_concat=range(2, 6), …)`.
//!
//! It lists the edges of all nodes in one list. The text is parsed, never evaluated. Lists and tuples, either quote,
//! any white space, trailing commas, and a name with an equals sign in front are accepted; an error gives the position
//! of the wrong character.

use std::fmt;
use std::ops::Range;

use super::parts::{Holds, Part, assemble, concat_key, holds};
use super::{Edge, Genotype};
use crate::error::{Error, Result, cut};
use crate::space::Operation;

/// The largest node number that is read: no cell has a larger one, and a range of them would fill the memory.
const HIGHEST_NODE: usize = 999;

impl Genotype {
    /// A genotype from the published notation. A cell whose nodes do not have the published number of edges, two or in
    /// a recurrent cell one, cannot be read from it.
    pub fn from_notation(text: &str) -> Result<Genotype> {
        parse(text)
    }
}

impl fmt::Display for Genotype {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let mut arguments = Vec::new();
        for (name, cell) in self.cells() {
            let edges: Vec<String> =
                cell.edges().map(|edge| format!("('{}', {})", edge.operation.name(), edge.source)).collect();
            arguments.push(format!("{name}=[{}]", edges.join(", ")));
            arguments.push(format!("{}={:?}", concat_key(name), cell.concat));
        }
        write!(formatter, "Genotype({})", arguments.join(", "))
    }
}

fn parse(text: &str) -> Result<Genotype> {
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
            return Err(parser.wrong(*at, &format!("`{text}` occurs twice")));
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
    assemble(parts.collect()).map_err(|flaw| {
        let argument = given.iter().find(|argument| argument.key.text == flaw.key);
        let entry = argument.zip(flaw.entry).and_then(|(argument, entry)| argument.entries.get(entry));
        // The position of a missing key is that of the closing bracket.
        let at = entry.copied().or(argument.map(|argument| argument.key.at)).unwrap_or(closed);
        parser.wrong(at, &flaw.detail)
    })
}

/// A key, its value, and the position of each entry of the value.
struct Argument {
    key: Word,
    part: Part,
    entries: Vec<usize>,
}

/// A name and its position.
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
        let holds = holds(&key.text).map_err(|detail| self.wrong(key.at, &detail))?;
        self.expect('=')?;
        let (entries, part) = match holds {
            Holds::Edges => {
                let (entries, edges) = self.list(Parser::edge)?.into_iter().unzip();
                (entries, Part::Flat(edges))
            }
            Holds::Concat => {
                let (entries, nodes) = self.nodes()?.into_iter().unzip();
                (entries, Part::Concat(nodes))
            }
        };
        Ok(Argument { key, part, entries })
    }

    /// ('operation', node)
    fn edge(&mut self) -> Result<Edge> {
        let close = self.open()?;
        let operation = self.operation()?;
        self.expect(',')?;
        let source = self.node()?;
        self.accept(',');
        self.expect(close)?;
        Ok(Edge { operation, source })
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

    /// Items between brackets, separated by commas, each with its position.
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

    /// The error for a character other than the expected one, or for the end of the text.
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
