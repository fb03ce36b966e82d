//! The published notation of a genotype, `Genotype(normal=[('sep_conv_3x3', 1), …], normal_concat=range(2, 6), …)`.
//!
//! It lists the edges of all nodes in one list, or, where that list does not determine the nodes, one list per node. The
//! text is parsed, never evaluated. Lists and tuples, either quote, any white space, comments, trailing commas, values
//! without names, numbers and arrays as NumPy and PyTorch print them, and any text before the genotype (an assignment,
//! a comment, the beginning of a line of a log) are accepted, and quotes or a fence of Markdown around it. So are the
//! notations of pt.darts (one list per node) and of AutoDL (a dictionary; a weight behind each source), and the cells of
//! NAS-Bench-201. An error gives the position of the wrong character.

use std::fmt;
use std::ops::Range;

use super::nas_bench_201;
use super::parts::{Holds, Part, assemble, concat_key, holds, keys, split};
use super::scanner::{Parser, Word, is_of_name};
use super::{Edge, Genotype};
use crate::error::{Result, cut};
use crate::space::Operation;

/// The largest node number that is read: no cell has a larger one, and a range of them would fill the memory.
const HIGHEST_NODE: usize = 999;

/// The calls that give a range of numbers.
const RANGES: &[&str] = &["range", "arange"];

/// Further arguments of AutoDL's genotypes, which are None.
const UNUSED: &[&str] = &["connectN", "connects"];

impl Genotype {
    /// A genotype from the published notation. A cell in one list has the published number of edges per node: two, or
    /// in a recurrent cell one.
    pub fn from_notation(text: &str) -> Result<Genotype> {
        parse(text)
    }
}

impl fmt::Display for Genotype {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let mut arguments = Vec::new();
        for (name, cell) in self.cells() {
            let list = |edges: &Vec<Edge>| {
                let edges = edges.iter().map(|edge| format!("('{}', {})", edge.operation.name(), edge.source));
                format!("[{}]", edges.collect::<Vec<_>>().join(", "))
            };
            let flat: Vec<Edge> = cell.edges().copied().collect();
            let text = match split(name, flat.clone(), &cell.concat) {
                Ok(nodes) if nodes == cell.nodes => list(&flat),
                _ => format!("[{}]", cell.nodes.iter().map(list).collect::<Vec<_>>().join(", ")),
            };
            arguments.push(format!("{name}={text}"));
            arguments.push(format!("{}={:?}", concat_key(name), cell.concat));
        }
        write!(formatter, "Genotype({})", arguments.join(", "))
    }
}

fn parse(text: &str) -> Result<Genotype> {
    let mut parser = Parser { text: text.chars().collect(), at: 0 };
    if parser.begins(0).is_none()
        && let Some(at) = parser.cell_of_nas_bench_201()
    {
        parser.at = at;
        return nas_bench_201::read(parser);
    }
    let (separator, close) = parser.enter()?;
    let before = parser.text[..parser.at].to_vec();
    let mut given: Vec<Argument> = Vec::new();
    while !parser.accept(close) {
        given.extend(parser.argument(separator, given.len())?);
        if !parser.accept(',') {
            parser.expect(close)?;
            break;
        }
    }
    let closed = parser.at - 1;
    // The quotes or the fence of Markdown around the whole text, with comments between them.
    parser.skip_space();
    while parser.text.get(parser.at).is_some_and(|mark| "'\"`".contains(*mark) && before.contains(mark)) {
        parser.at += 1;
        parser.skip_space();
    }
    if let Some(character) = parser.text.get(parser.at) {
        let detail = match parser.begins(parser.at) {
            Some(_) => "another genotype follows the first; give the text of one of them".to_string(),
            None => format!("nothing may follow the genotype, found `{character}`"),
        };
        return Err(parser.wrong(parser.at, &detail));
    }
    // Values without names are in the order of the published code, which has two in a recurrent genotype.
    let names = keys(given.len() <= 2);
    for index in 0..given.len() {
        let at = given[index].key.at;
        if given[index].key.text.is_empty() {
            let name = names.get(index).ok_or_else(|| parser.wrong(at, "a genotype has no more than four values"))?;
            given[index].key.text = name.to_string();
        }
        let text = &given[index].key.text;
        if given[..index].iter().any(|other| other.key.text == *text) {
            return Err(parser.wrong(at, &format!("`{text}` occurs twice")));
        }
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

/// A key (empty where the value has no name), its value, and the position of each entry of the value.
struct Argument {
    key: Word,
    part: Part,
    entries: Vec<usize>,
}

impl Parser {
    /// Passes over what precedes the values; returns what separates a name from its value, and what ends the values.
    fn enter(&mut self) -> Result<(char, char)> {
        if let Some(inside) = self.begins(0) {
            self.at = inside;
            return Ok(if self.text[inside - 1] == '{' { (':', '}') } else { ('=', ')') });
        }
        let mut name = self.name("`Genotype`")?;
        if self.accept('=') {
            name = self.name("`Genotype`")?;
        }
        if name.text != "Genotype" {
            return Err(self.wrong(name.at, &format!("expected `Genotype`, found `{}`", cut(&name.text))));
        }
        self.expect('(')?;
        Ok(('=', ')'))
    }

    /// The first character inside of the brackets of a genotype from `from` on: of `Genotype(`, or of `{` before a
    /// quote. One in a comment counts only if there is no other.
    fn begins(&self, from: usize) -> Option<usize> {
        let text = &self.text;
        let word: Vec<char> = "Genotype".chars().collect();
        let space = |mut at: usize| {
            at += text[at..].iter().take_while(|character| character.is_whitespace()).count();
            at
        };
        let inside = |at: usize| {
            if text[at] == '{' {
                let key = space(at + 1);
                let quote = text.get(key + usize::from(text.get(key) == Some(&'u')))?;
                return "'\"".contains(*quote).then_some(at + 1);
            }
            let alone = at == 0 || !is_of_name(text[at - 1]);
            let open = space(at + word.len().min(text.len() - at));
            (alone && text[at..].starts_with(&word) && text.get(open) == Some(&'(')).then_some(open + 1)
        };
        let is_comment = |at: &usize| {
            let line = text[..*at].iter().rposition(|character| *character == '\n').map_or(0, |end| end + 1);
            text.get(space(line)) == Some(&'#')
        };
        let starts = || (from..text.len()).filter(|at| "{G".contains(text[*at]) && inside(*at).is_some());
        starts().find(|at| !is_comment(at)).or(starts().next()).and_then(inside)
    }

    /// Where `|operation~node|` begins.
    fn cell_of_nas_bench_201(&self) -> Option<usize> {
        let bar = |at: &usize| {
            let inner =
                self.text[at + 1..].iter().take_while(|character| is_of_name(**character) || **character == '~');
            let inner: String = inner.collect();
            let (name, node) = inner.split_once('~')?;
            let whole = !name.is_empty() && node.chars().all(|digit| digit.is_ascii_digit()) && !node.is_empty();
            (whole && self.text.get(at + 1 + inner.len()) == Some(&'|')).then_some(())
        };
        (0..self.text.len()).filter(|at| self.text[*at] == '|').find(|at| bar(at).is_some())
    }

    /// key=value, "key": value, or the value at this position; nothing for an argument that is not used.
    fn argument(&mut self, separator: char, position: usize) -> Result<Option<Argument>> {
        let key = if separator == ':' {
            self.quoted("a key in quotes")?
        } else if self.is_value() {
            Word { at: self.at, text: String::new() }
        } else {
            self.name("a name such as `normal`")?
        };
        let kind = match key.text.as_str() {
            "" if position.is_multiple_of(2) => Holds::Edges,
            "" => Holds::Concat,
            name if UNUSED.contains(&name) => {
                self.expect(separator)?;
                let word = self.name("`None`")?;
                let refuse =
                    || self.wrong(word.at, &format!("`{}` must be None, found `{}`", key.text, cut(&word.text)));
                return if word.text == "None" { Ok(None) } else { Err(refuse()) };
            }
            name => holds(name).map_err(|detail| self.wrong(key.at, &detail))?,
        };
        if !key.text.is_empty() {
            self.expect(separator)?;
        }
        let (entries, part) = match kind {
            Holds::Edges if self.lists_nodes() => {
                let nodes = self.list(|parser| parser.list(Parser::edge))?;
                let entries = nodes.iter().flat_map(|(_, edges)| edges).map(|(at, _)| *at).collect();
                let edges = |(_, edges): (usize, Vec<(usize, Edge)>)| edges.into_iter().map(|(_, edge)| edge).collect();
                (entries, Part::Nodes(nodes.into_iter().map(edges).collect()))
            }
            Holds::Edges => {
                let (entries, edges) = self.list(Parser::edge)?.into_iter().unzip();
                (entries, Part::Flat(edges))
            }
            Holds::Concat => {
                let (entries, nodes) = self.nodes()?.into_iter().unzip();
                (entries, Part::Concat(nodes))
            }
        };
        Ok(Some(Argument { key, part, entries }))
    }

    /// Whether a value without a name follows: a bracket, or a call.
    fn is_value(&mut self) -> bool {
        self.skip_space();
        let before = self.at;
        let called = self.call().is_some();
        let bracket = self.text.get(before).is_some_and(|character| "[(".contains(*character));
        self.at = before;
        called || bracket
    }

    /// Whether a list of lists of edges follows: two brackets, and then no name of an operation.
    fn lists_nodes(&mut self) -> bool {
        let before = self.at;
        let brackets = self.open().is_ok() && self.open().is_ok();
        self.skip_space();
        let nested = brackets && self.text.get(self.at).is_some_and(|character| "[(])".contains(*character));
        self.at = before;
        nested
    }

    /// ('operation', node), or ('operation', node, weight), whose weight has no meaning for the genotype.
    fn edge(&mut self) -> Result<Edge> {
        let close = self.open()?;
        let operation = self.quoted("an operation in quotes")?;
        let operation = Operation::parse(&operation.text).map_err(|error| self.wrong(operation.at, &error.detail))?;
        self.expect(',')?;
        let source = self.node()?;
        if !self.accept(',') {
            self.expect(close)?;
        } else if !self.accept(close) {
            self.wrapped("a weight", &[], Parser::weight)?;
            self.accept(',');
            self.expect(close)?;
        }
        Ok(Edge { operation, source })
    }

    /// A number, of which nothing is kept.
    fn weight(&mut self) -> Result<()> {
        self.skip_space();
        let begin = self.at;
        let number = self.take(|character| character.is_ascii_digit() || "+-.eE".contains(character));
        if number.is_empty() {
            return Err(self.missing("a weight"));
        }
        number.parse::<f64>().map(|_| ()).map_err(|_| self.wrong(begin, &format!("`{}` is not a number", cut(&number))))
    }

    /// range(low, high), also with a step, or a list of numbers
    fn nodes(&mut self) -> Result<Vec<(usize, usize)>> {
        self.wrapped("`range` or a list", RANGES, |parser| {
            let begin = parser.at;
            if parser.text.get(begin).is_none_or(|character| "[(".contains(*character)) || parser.call().is_none() {
                parser.at = begin;
                return parser.list(Parser::node);
            }
            let first = parser.node()?;
            let range: Range<usize> = if parser.accept(',') { first..parser.node()? } else { 0..first };
            let step = if parser.accept(',') { parser.node()? } else { 1 };
            if step == 0 {
                return Err(parser.wrong(begin, "the step of a range must be at least 1, found 0"));
            }
            parser.expect(')')?;
            Ok(range.step_by(step).map(|node| (begin, node)).collect())
        })
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

    pub(super) fn node(&mut self) -> Result<usize> {
        self.wrapped("a node number", &[], |parser| {
            let begin = parser.at;
            let digits = parser.take(|character| character.is_ascii_digit());
            if digits.is_empty() {
                return Err(parser.missing("a node number"));
            }
            let node = digits.parse().ok().filter(|node| *node <= HIGHEST_NODE);
            node.ok_or_else(|| parser.wrong(begin, &format!("node number {} is larger than any cell's", cut(&digits))))
        })
    }
}
