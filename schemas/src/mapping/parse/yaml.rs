//! YAML text becomes nodes that remember their lines.
//!
//! Built from the parser's events rather than from saphyr's own tree, for three reasons: a key that
//! stands twice is kept, so that it can be reported beside everything else; scalars stay text
//! (`1.50` is not rounded, `null` is told from `"null"`); and depth and size have limits, so that no
//! file, however nested or aliased, can exhaust the stack or the memory.

use crate::mapping::fault::{At, Faults};
use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use std::{borrow::Cow, collections::BTreeMap};

/// Deepest nesting. Child tables use four levels each; nobody's documents nest fifteen arrays.
const DEPTH_MAX: usize = 64;
/// Most nodes that aliases may add: a file of nested aliases can stand for billions.
const ALIASED_MAX: usize = 100_000;

/// A node.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) value: Value,
}

/// What a node is.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// Text; `plain` where it stands without quotes, so that `null` and `true` mean something.
    Scalar { text: String, plain: bool },
    /// A list.
    List(Vec<Node>),
    /// Keys and values, in the order of the file; keys may repeat.
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// Whether it is null: nothing at all, `~` or `null`.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// A copy, as long as `left` nodes are not used up.
    fn copy(&self, left: &mut usize) -> Option<Self> {
        *left = left.checked_sub(1)?;
        let value = match &self.value {
            Value::Scalar { .. } => self.value.clone(),
            Value::List(items) => Value::List(
                items
                    .iter()
                    .map(|item| item.copy(left))
                    .collect::<Option<_>>()?,
            ),
            Value::Map(entries) => Value::Map(
                entries
                    .iter()
                    .map(|(key, value)| Some((key.copy(left)?, value.copy(left)?)))
                    .collect::<Option<_>>()?,
            ),
        };
        Some(Self { value, ..*self })
    }
}

/// Reads the one document of a file. `None` where it is not YAML, which is then among the faults.
pub(super) fn read(text: &str, faults: &mut Faults) -> Option<Node> {
    let mut tree = Tree {
        open: Vec::new(),
        anchors: BTreeMap::new(),
        aliased: ALIASED_MAX,
        root: None,
    };
    let mut parser = Parser::new_from_str(text);
    loop {
        let refused = match parser.next_event()? {
            Ok((Event::StreamEnd, _)) => break,
            Ok((event, span)) => match tree.on(event, span, faults) {
                Ok(()) => continue,
                Err(refused) => (at(span), refused),
            },
            Err(error) => {
                let mark = error.marker();
                let at = At {
                    line: mark.line(),
                    column: mark.col() + 1,
                    place: "".into(),
                };
                (at, format!("this is not YAML: {}", error.info()))
            }
        };
        faults.add(&refused.0, refused.1);
        return None;
    }
    if tree.root.is_none() {
        faults.add(
            &At {
                line: 1,
                column: 1,
                place: "".into(),
            },
            "the file is empty",
        );
    }
    tree.root
}

fn at(span: Span) -> At {
    At {
        line: span.start.line(),
        column: span.start.col() + 1,
        place: "".into(),
    }
}

/// A list or map whose end has not been seen.
struct Open {
    node: Node,
    anchor: usize,
    /// The key whose value comes next.
    key: Option<Node>,
}

struct Tree {
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    aliased: usize,
    root: Option<Node>,
}

impl Tree {
    fn on(&mut self, event: Event<'_>, span: Span, faults: &mut Faults) -> Result<(), String> {
        match event {
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
            Event::Alias(anchor) => {
                let node = self
                    .anchors
                    .get(&anchor)
                    .ok_or("an alias cannot contain itself")?;
                let copy = node.copy(&mut self.aliased);
                self.place(copy.ok_or("the aliases stand for too much")?, 0)
            }
            Event::Scalar(text, style, anchor, tag) => {
                let text_tag = self.tag(tag.as_ref(), span, faults);
                let plain = style == ScalarStyle::Plain && !text_tag;
                let value = Value::Scalar {
                    text: text.into_owned(),
                    plain,
                };
                self.place(node(span, value), anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.tag(tag.as_ref(), span, faults);
                self.begin(node(span, Value::List(Vec::new())), anchor)
            }
            Event::MappingStart(anchor, tag) => {
                self.tag(tag.as_ref(), span, faults);
                self.begin(node(span, Value::Map(Vec::new())), anchor)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => self.place(open.node, open.anchor),
                None => Err("an end without a beginning".to_owned()),
            },
        }
    }

    /// Whether a tag says that a scalar is text.
    fn tag(&self, tag: Option<&Cow<'_, Tag>>, span: Span, faults: &mut Faults) -> bool {
        match tag {
            Some(tag) if tag.is_yaml_core_schema() => tag.suffix == "str",
            Some(tag) => {
                faults.add(&at(span), format!("the tag `{tag}` means nothing here"));
                false
            }
            None => false,
        }
    }

    fn begin(&mut self, node: Node, anchor: usize) -> Result<(), String> {
        if self.open.len() == DEPTH_MAX {
            return Err(format!("nested deeper than {DEPTH_MAX} levels"));
        }
        self.open.push(Open {
            node,
            anchor,
            key: None,
        });
        Ok(())
    }

    fn place(&mut self, node: Node, anchor: usize) -> Result<(), String> {
        if anchor > 0 {
            let copy = node.copy(&mut self.aliased);
            self.anchors
                .insert(anchor, copy.ok_or("the aliases stand for too much")?);
        }
        let Some(open) = self.open.last_mut() else {
            if self.root.is_some() {
                return Err("a second document; a mapping is one".to_owned());
            }
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.node.value {
            Value::List(items) => items.push(node),
            Value::Map(entries) => match open.key.take() {
                Some(key) => entries.push((key, node)),
                None => open.key = Some(node),
            },
            Value::Scalar { .. } => {}
        }
        Ok(())
    }
}

fn node(span: Span, value: Value) -> Node {
    Node {
        line: span.start.line(),
        column: span.start.col() + 1,
        value,
    }
}

#[cfg(test)]
impl Node {
    /// As JSON, plain scalars with their meaning.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Scalar { .. } if self.is_null() => serde_json::Value::Null,
            Value::Scalar { text, plain: true } => match text.parse::<serde_json::Value>() {
                Ok(value @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_))) => value,
                _ => text.as_str().into(),
            },
            Value::Scalar { text, plain: false } => text.as_str().into(),
            Value::List(items) => items.iter().map(Node::to_json).collect(),
            Value::Map(entries) => entries
                .iter()
                .filter_map(|(key, value)| match &key.value {
                    Value::Scalar { text, .. } => Some((text.clone(), value.to_json())),
                    Value::List(_) | Value::Map(_) => None,
                })
                .collect(),
        }
    }
}
