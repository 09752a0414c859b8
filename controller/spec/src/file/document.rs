//! From YAML to entries: a mapping with one list of mappings, whose values are texts or lists of texts.

use granit_parser::{Event, Marker, Parser, StrInput};

use super::{
    FileError, Position,
    entry::{Entry, Field},
};
use crate::named::Text;

/// The file's entries.
pub(super) fn entries(text: &str) -> Result<Vec<Entry>, FileError> {
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        last: Position::START,
    };
    let entries = document(&mut reader)?;
    match reader.next()? {
        (Event::StreamEnd, _) => Ok(entries),
        (_, position) => Err(position.error("only one document is allowed")),
    }
}

fn document(reader: &mut Reader<'_>) -> Result<Vec<Entry>, FileError> {
    match reader.next()? {
        (Event::StreamStart, _) => {}
        (_, position) => return Err(position.error("not a YAML file")),
    }
    match reader.next()? {
        (Event::DocumentStart(..), _) => {}
        (_, position) => return Err(position.error("the file is empty; it needs `faults:`")),
    }
    let (event, position) = reader.next()?;
    if !matches!(event, Event::MappingStart(..)) {
        return Err(position.error("not a mapping; the file needs `faults:` with a list"));
    }
    let mut entries = None;
    while let Some((name, position)) = key(reader)? {
        if name != "faults" {
            return Err(position.error(format!("{name}: there is no such field; use faults")));
        }
        if entries.replace(list(reader)?).is_some() {
            return Err(position.error("faults: is there twice"));
        }
    }
    // The document's end.
    reader.next()?;
    entries.ok_or_else(|| position.error("faults: is needed and was not given"))
}

fn list(reader: &mut Reader<'_>) -> Result<Vec<Entry>, FileError> {
    let (event, position) = reader.next()?;
    if !matches!(event, Event::SequenceStart(..)) {
        return Err(position.error("faults: not a list; begin each fault with `- `"));
    }
    let mut entries = Vec::new();
    loop {
        match reader.next()? {
            (Event::SequenceEnd, _) => return Ok(entries),
            (Event::MappingStart(..), position) => entries.push(entry(reader, position)?),
            (_, position) => {
                return Err(position.error("not a fault; it needs fields such as `unit:`"));
            }
        }
    }
}

fn entry(reader: &mut Reader<'_>, position: Position) -> Result<Entry, FileError> {
    let mut fields: Vec<Field> = Vec::new();
    while let Some((name, position)) = key(reader)? {
        let field = Field {
            value: value(reader, &name)?,
            position,
            name,
        };
        if fields.iter().any(|known| known.is_named(&field.name)) {
            return Err(position.error(format!("{}: is there twice", field.name)));
        }
        fields.push(field);
    }
    Ok(Entry { position, fields })
}

/// A field's name; `None` at the mapping's end.
fn key(reader: &mut Reader<'_>) -> Result<Option<(String, Position)>, FileError> {
    match reader.next()? {
        (Event::MappingEnd, _) => Ok(None),
        (Event::Scalar(name, ..), position) => Ok(Some((name.into_owned(), position))),
        (_, position) => Err(position.error("a field's name must be a word")),
    }
}

fn value(reader: &mut Reader<'_>, name: &str) -> Result<Text, FileError> {
    match reader.next()? {
        (Event::Scalar(text, ..), _) => Ok(Text::One(text.into_owned())),
        (Event::SequenceStart(..), _) => {
            let mut texts = Vec::new();
            loop {
                match reader.next()? {
                    (Event::SequenceEnd, _) => return Ok(Text::Many(texts)),
                    (Event::Scalar(text, ..), _) => texts.push(text.into_owned()),
                    (_, position) => {
                        return Err(position.error(format!("{name}: a list of words only")));
                    }
                }
            }
        }
        (_, position) => Err(position.error(format!("{name}: a value or a list of words only"))),
    }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    last: Position,
}

impl<'a> Reader<'a> {
    /// The next event. Anchors, aliases and tags are refused: nothing here needs them, and they hide what a file does.
    fn next(&mut self) -> Result<(Event<'a>, Position), FileError> {
        let (event, span) = match self.parser.next_event() {
            Some(Ok(event)) => event,
            Some(Err(error)) => return Err(position(*error.marker()).error(error.info())),
            None => return Err(self.last.error("the file ends too early")),
        };
        self.last = position(span.start);
        let plain = match &event {
            Event::Scalar(_, _, anchor, tag)
            | Event::SequenceStart(_, anchor, tag)
            | Event::MappingStart(_, anchor, tag) => *anchor == 0 && tag.is_none(),
            Event::Alias(_) => false,
            _ => true,
        };
        if plain {
            Ok((event, self.last))
        } else {
            Err(self.last.error("anchors, aliases and tags are not allowed"))
        }
    }
}

/// The parser counts columns from 0.
fn position(marker: Marker) -> Position {
    Position {
        line: marker.line().max(1),
        column: marker.col() + 1,
    }
}
