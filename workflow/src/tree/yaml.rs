//! YAML text to tree. Stricter than YAML: one document, text keys, no key twice, no merge keys, no tags beyond the core
//! schema's, and aliases only within a budget, so that a small text cannot become a huge definition.

use std::collections::HashMap;

use serde_saphyr::granit_parser::{
    Event, Marker, Options, Parser, ScalarStyle, ScanError, Span, StrInput, Tag,
};

use super::{Data, Key, Tree, scalar};
use crate::limits;
use crate::problem::{Location, Problem, Problems};

/// Parses one YAML document. Problems that do not hide the structure are collected beside the tree; a text that is not
/// YAML gives no tree.
pub(crate) fn from_yaml(text: &str, problems: &mut Problems) -> Option<Tree> {
    if text.len() > limits::DEFINITION_BYTES {
        let message = format!("the text has {} bytes; the limit is {}", text.len(), limits::DEFINITION_BYTES);
        problems.push(problem(None, message, "split the workflow into subworkflows"));
        return None;
    }
    let mut options = Options::default();
    options.set_emit_comments(false);
    // A definition has up to 8 levels of nodes, each of which takes a few levels of YAML.
    options.block_nesting_limit = 128;
    options.flow_nesting_limit = 128;
    let mut builder = Builder {
        parser: Parser::new_from_str_with_options(text, options),
        anchors: HashMap::new(),
        values: 0,
        problems,
    };
    match builder.document() {
        Ok(tree) => tree,
        Err(problem) => {
            builder.problems.push(*problem);
            None
        }
    }
}

struct Builder<'a, 'p> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, (Tree, usize)>,
    values: usize,
    problems: &'p mut Problems,
}

/// A problem after which parsing cannot go on.
type Fatal = Box<Problem>;

impl<'a> Builder<'a, '_> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Fatal> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(Box::new(syntax(&error))),
            None => Err(fatal(None, "the text ends early", "complete it")),
        }
    }

    fn document(&mut self) -> Result<Option<Tree>, Fatal> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(..) if root.is_some() => {
                    let remedy = "put each workflow in a text of its own and remove the `---` line";
                    return Err(fatal(
                        Some(span.start),
                        "the text holds more than one YAML document",
                        remedy,
                    ));
                }
                Event::DocumentStart(..) => {}
                event => root = Some(self.node(event, span)?),
            }
        }
        if root.is_none() {
            self.problems.push(problem(
                None,
                "the text is empty",
                "a workflow needs at least `name` and `nodes`",
            ));
        }
        Ok(root)
    }

    fn node(&mut self, event: Event<'a>, span: Span) -> Result<Tree, Fatal> {
        self.count(1, &span)?;
        let before = self.values;
        let (data, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (self.scalar(&text, style, tag.as_deref(), &span), anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), "seq", &span);
                (self.list()?, anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), "map", &span);
                (self.map()?, anchor)
            }
            Event::Alias(id) => return self.alias(id, &span),
            _ => return Err(fatal(Some(span.start), "this YAML is not understood", "write it more plainly")),
        };
        let tree = Tree { at: Some(location(span.start)), data };
        if anchor != 0 {
            // The copy kept for aliases counts too, or anchors inside anchors could hold many copies of one large value.
            let values = 1 + self.values - before;
            self.count(values, &span)?;
            self.anchors.insert(anchor, (tree.clone(), values));
        }
        Ok(tree)
    }

    /// Counts values against the budget; an alias counts as all that it stands for, before it is copied.
    fn count(&mut self, values: usize, span: &Span) -> Result<(), Fatal> {
        self.values += values;
        if self.values <= limits::DEFINITION_VALUES {
            return Ok(());
        }
        let message =
            format!("the text holds more than {} values, aliases resolved", limits::DEFINITION_VALUES);
        Err(fatal(Some(span.start), message, "use fewer aliases, or split the workflow into subworkflows"))
    }

    fn alias(&mut self, id: usize, span: &Span) -> Result<Tree, Fatal> {
        let Some(values) = self.anchors.get(&id).map(|(_, values)| *values) else {
            let message = "an alias stands inside the value that its own anchor names";
            return Err(fatal(Some(span.start), message, "write the value out"));
        };
        self.count(values, span)?;
        let (tree, _) = &self.anchors[&id];
        // The use's place is what a person mends; what is wrong inside is shown where it is written.
        Ok(Tree { at: Some(location(span.start)), data: tree.data.clone() })
    }

    fn list(&mut self) -> Result<Data, Fatal> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Data::List(items)),
                (event, span) => items.push(self.node(event, span)?),
            }
        }
    }

    fn map(&mut self) -> Result<Data, Fatal> {
        let mut entries: Vec<(Key, Tree)> = Vec::new();
        let mut places: HashMap<String, Location> = HashMap::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Data::Map(entries));
            }
            let key = self.key(event, span)?;
            let (event, value_span) = self.next()?;
            let value = self.node(event, value_span)?;
            let at = location(span.start);
            if let Some(first) = places.get(&key) {
                let message = format!("`{key}` is given twice; first at {first}");
                self.problems.push(problem(Some(span.start), message, "keep one of the two"));
                continue;
            }
            places.insert(key.clone(), at);
            entries.push((Key { at: Some(at), name: key }, value));
        }
    }

    fn key(&mut self, event: Event<'a>, span: Span) -> Result<String, Fatal> {
        let name = match event {
            Event::Scalar(text, ..) => text.into_owned(),
            Event::Alias(id) => match self.anchors.get(&id) {
                Some((Tree { data: Data::Text(text), .. }, _)) => text.clone(),
                _ => {
                    return Err(fatal(Some(span.start), "this alias is not a text key", "write the key out"));
                }
            },
            _ => {
                let remedy =
                    "write a plain name before the colon; put text that starts with `{` or `[` in quotes";
                return Err(fatal(Some(span.start), "a key is a list or a map", remedy));
            }
        };
        if name == "<<" {
            let remedy = "write the fields out, or use an alias for the whole value";
            return Err(fatal(Some(span.start), "merge keys (`<<`) are not part of YAML 1.2", remedy));
        }
        Ok(name)
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, span: &Span) -> Data {
        let plain = style == ScalarStyle::Plain;
        match tag.map(|tag| (tag, tag.core_suffix())) {
            None if plain => scalar::resolve(text),
            None | Some((_, Some("str"))) => Data::Text(text.to_owned()),
            Some((_, Some("int" | "float" | "bool" | "null"))) => scalar::resolve(text),
            Some((tag, _)) => {
                self.tag_problem(tag, span);
                Data::Text(text.to_owned())
            }
        }
    }

    fn refuse_tag(&mut self, tag: Option<&Tag>, allowed: &str, span: &Span) {
        if let Some(tag) = tag.filter(|tag| tag.core_suffix() != Some(allowed)) {
            self.tag_problem(tag, span);
        }
    }

    fn tag_problem(&mut self, tag: &Tag, span: &Span) {
        let message = format!("the YAML tag `{}` is not supported", tag.original());
        let remedy = "remove it; put the value in quotes if it shall be text";
        self.problems.push(problem(span.tag_start().or(Some(span.start)), message, remedy));
    }
}

fn location(marker: Marker) -> Location {
    Location { line: marker.line(), column: marker.col() + 1 }
}

fn problem(at: Option<Marker>, message: impl Into<String>, remedy: &str) -> Problem {
    Problem {
        location: at.map(location),
        path: String::new(),
        node: None,
        message: message.into(),
        remedy: remedy.to_owned(),
    }
}

fn fatal(at: Option<Marker>, message: impl Into<String>, remedy: &str) -> Fatal {
    Box::new(problem(at, message, remedy))
}

fn syntax(error: &ScanError) -> Problem {
    let (message, remedy) = syntax_text(error);
    problem(Some(*error.marker()), format!("not valid YAML: {message}"), remedy)
}

/// The parser's words for an error, and what a person most likely has to do about it.
fn syntax_text(error: &ScanError) -> (String, &'static str) {
    use serde_saphyr::granit_parser::ErrorKind as Kind;
    let remedy = match error.kind() {
        Kind::TabNotAllowed
        | Kind::TabInBlockIndentation
        | Kind::TabInIndentation
        | Kind::TabInPlainScalar => "indent with spaces, never with tabs",
        Kind::MappingValueNotAllowed | Kind::SimpleKeyExpected | Kind::InvalidSimpleKey => {
            "put text that holds `: ` in quotes, and check the indentation"
        }
        Kind::UnclosedQuotedScalar
        | Kind::DocumentIndicatorInQuotedScalar
        | Kind::InvalidQuotedScalarIndent => "close the quote",
        Kind::UnclosedFlowCollection { .. }
        | Kind::MismatchedFlowCollectionEnd { .. }
        | Kind::MisplacedFlowCollectionEnd
        | Kind::UnexpectedEofFlowMapping
        | Kind::UnexpectedEofFlowSequence
        | Kind::UnexpectedEofImplicitFlowMapping
        | Kind::ExpectedFlowMappingSeparator
        | Kind::ExpectedFlowSequenceSeparator => "close every `[` with `]` and every `{` with `}`",
        Kind::UnknownAnchor => {
            "name the value with `&name` before its first `*name`; put text that starts with `*` in quotes"
        }
        Kind::UnexpectedCharacter { .. } => "put text that starts with a special character in quotes",
        Kind::UnknownQuotedScalarEscape => "write a backslash as `\\\\`, or use single quotes",
        Kind::RecursionLimitExceeded => "nest less deeply",
        _ => "check the indentation, and put text with special characters in quotes",
    };
    (error.info(), remedy)
}
