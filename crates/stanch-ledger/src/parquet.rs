//! Parquet, as much of it as a table of required texts and numbers needs: plain encoding, a page per
//! column and row group, compressed with Zstandard (<https://parquet.apache.org/docs/file-format/>).
//!
//! The format's reference implementation is as large as the rest of this crate's dependencies together.

use std::io::{self, Write};

/// Bytes of a column's values after which a row group is written.
const GROUP: usize = 8 << 20;

const MAGIC: &[u8] = b"PAR1";

/// A column.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    name: &'static str,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    /// Milliseconds since 1970.
    Time,
    Text,
}

impl Column {
    pub(crate) const fn number(name: &'static str) -> Self {
        let kind = Kind::Number;
        Self { name, kind }
    }

    pub(crate) const fn time(name: &'static str) -> Self {
        let kind = Kind::Time;
        Self { name, kind }
    }

    pub(crate) const fn text(name: &'static str) -> Self {
        let kind = Kind::Text;
        Self { name, kind }
    }

    /// INT64 or BYTE_ARRAY.
    const fn physical(&self) -> i64 {
        match self.kind {
            Kind::Number | Kind::Time => 2,
            Kind::Text => 6,
        }
    }

    /// UTF8, TIMESTAMP_MILLIS or none.
    const fn converted(&self) -> Option<i64> {
        match self.kind {
            Kind::Text => Some(0),
            Kind::Time => Some(9),
            Kind::Number => None,
        }
    }
}

/// A file that is being written.
pub(crate) struct Parquet {
    columns: Vec<Column>,
    /// The values of the row group, by column.
    values: Vec<Vec<u8>>,
    rows: u64,
    written: u64,
    groups: Vec<Group>,
}

struct Group {
    rows: u64,
    chunks: Vec<Chunk>,
}

struct Chunk {
    offset: u64,
    plain: u64,
    stored: u64,
}

impl Parquet {
    pub(crate) fn begin(columns: Vec<Column>, to: &mut dyn Write) -> io::Result<Self> {
        to.write_all(MAGIC)?;
        Ok(Self {
            values: vec![Vec::new(); columns.len()],
            columns,
            rows: 0,
            written: MAGIC.len() as u64,
            groups: Vec::new(),
        })
    }

    /// The bytes of a number, of the row's `column`.
    pub(crate) fn put(&mut self, column: usize, value: &[u8]) {
        if let Some(values) = self.values.get_mut(column) {
            values.extend_from_slice(value);
        }
    }

    pub(crate) fn put_text(&mut self, column: usize, text: &str) {
        self.put(column, &(text.len() as u32).to_le_bytes());
        self.put(column, text.as_bytes());
    }

    pub(crate) fn end_row(&mut self, to: &mut dyn Write) -> io::Result<()> {
        self.rows += 1;
        if self.values.iter().any(|values| values.len() >= GROUP) {
            self.write_group(to)?;
        }
        Ok(())
    }

    fn write_group(&mut self, to: &mut dyn Write) -> io::Result<()> {
        let rows = std::mem::take(&mut self.rows);
        let mut chunks = Vec::new();
        for values in &mut self.values {
            let stored = zstd::bulk::compress(values, 3)?;
            let mut header = Thrift::default();
            // PageHeader: type DATA_PAGE, sizes, DataPageHeader.
            header.number(1, 0);
            header.number(2, values.len() as i64);
            header.number(3, stored.len() as i64);
            header.begin(5);
            header.number(1, rows.cast_signed());
            // Encodings: PLAIN values, RLE levels (of which there are none).
            header.number(2, 0);
            header.number(3, 3);
            header.number(4, 3);
            header.end();
            header.end();
            to.write_all(&header.out)?;
            to.write_all(&stored)?;
            let header = header.out.len() as u64;
            chunks.push(Chunk {
                offset: self.written,
                plain: header + values.len() as u64,
                stored: header + stored.len() as u64,
            });
            self.written += header + stored.len() as u64;
            values.clear();
        }
        self.groups.push(Group { rows, chunks });
        Ok(())
    }

    pub(crate) fn finish(mut self, to: &mut dyn Write) -> io::Result<()> {
        if self.rows > 0 {
            self.write_group(to)?;
        }
        let mut footer = Thrift::default();
        // FileMetaData: version, schema, rows, row groups, writer.
        footer.number(1, 1);
        footer.list(2, STRUCT, self.columns.len() + 1);
        footer.begin_element();
        footer.text(4, "ledger");
        footer.number(5, self.columns.len() as i64);
        footer.end();
        for column in &self.columns {
            footer.begin_element();
            footer.number(1, column.physical());
            // REQUIRED.
            footer.number(3, 0);
            footer.text(4, column.name);
            if let Some(converted) = column.converted() {
                footer.number(6, converted);
            }
            footer.end();
        }
        let rows: u64 = self.groups.iter().map(|group| group.rows).sum();
        footer.wide(3, rows.cast_signed());
        footer.list(4, STRUCT, self.groups.len());
        for group in &self.groups {
            footer.begin_element();
            footer.list(1, STRUCT, group.chunks.len());
            for (column, chunk) in self.columns.iter().zip(&group.chunks) {
                footer.begin_element();
                footer.wide(2, chunk.offset.cast_signed());
                // ColumnMetaData: type, encodings, path, codec ZSTD, values, sizes, offset.
                footer.begin(3);
                footer.number(1, column.physical());
                footer.list(2, I32, 1);
                footer.varint(0);
                footer.list(3, BINARY, 1);
                footer.bytes(column.name);
                footer.number(4, 6);
                footer.wide(5, group.rows.cast_signed());
                footer.wide(6, chunk.plain.cast_signed());
                footer.wide(7, chunk.stored.cast_signed());
                footer.wide(9, chunk.offset.cast_signed());
                footer.end();
                footer.end();
            }
            let plain: u64 = group.chunks.iter().map(|chunk| chunk.plain).sum();
            footer.wide(2, plain.cast_signed());
            footer.wide(3, group.rows.cast_signed());
            footer.end();
        }
        footer.text(6, concat!("stanch ", env!("CARGO_PKG_VERSION")));
        footer.end();
        to.write_all(&footer.out)?;
        to.write_all(&(footer.out.len() as u32).to_le_bytes())?;
        to.write_all(MAGIC)
    }
}

const I32: u8 = 5;
const I64: u8 = 6;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

/// Thrift's compact protocol, in which Parquet's metadata is written
/// (<https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>).
#[derive(Default)]
struct Thrift {
    out: Vec<u8>,
    /// The last field's id in the structs around this one, and in this.
    around: Vec<i16>,
    last: i16,
}

impl Thrift {
    fn field(&mut self, id: i16, kind: u8) {
        // Ids grow by less than 16 everywhere here.
        let step = (id - self.last) as u8;
        self.out.push(step << 4 | kind);
        self.last = id;
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }

    fn zigzag(&mut self, value: i64) {
        self.varint((value << 1 ^ value >> 63).cast_unsigned());
    }

    fn number(&mut self, id: i16, value: i64) {
        self.field(id, I32);
        self.zigzag(value);
    }

    fn wide(&mut self, id: i16, value: i64) {
        self.field(id, I64);
        self.zigzag(value);
    }

    fn bytes(&mut self, text: &str) {
        self.varint(text.len() as u64);
        self.out.extend_from_slice(text.as_bytes());
    }

    fn text(&mut self, id: i16, text: &str) {
        self.field(id, BINARY);
        self.bytes(text);
    }

    fn list(&mut self, id: i16, kind: u8, length: usize) {
        self.field(id, LIST);
        match length {
            0..15 => self.out.push((length as u8) << 4 | kind),
            _ => {
                self.out.push(0xf0 | kind);
                self.varint(length as u64);
            }
        }
    }

    fn begin(&mut self, id: i16) {
        self.field(id, STRUCT);
        self.begin_element();
    }

    fn begin_element(&mut self) {
        self.around.push(self.last);
        self.last = 0;
    }

    fn end(&mut self) {
        self.out.push(0);
        self.last = self.around.pop().unwrap_or(0);
    }
}
