//! What a lane knows of the tables it writes to.

use crate::literal::quoted;
use crate::merged::column::Type;
use crate::presence;
use crate::session::Session;
use crate::sql_error::SqlError;
use crate::target::{TargetColumn, TargetTable};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Tables that a lane remembers; a table takes about a kilobyte.
const TABLES_MAX: usize = 10_000;
/// A table that someone changed by hand at the shard is seen to have changed after this.
const AGE_MAX: Duration = Duration::from_secs(300);

/// Tables of a shard, read when they are first needed.
///
/// An entry holds for as long as the device's [`crate::watermark::Watermark::shape_generation`] is
/// the one it was read under, so a DDL statement that another worker applied is not missed.
#[derive(Debug, Default)]
pub struct Catalog {
    tables: HashMap<(String, String), Entry>,
}

#[derive(Debug)]
struct Entry {
    generation: u64,
    read_at: Instant,
    table: Arc<TargetTable>,
}

// === impl Catalog ===

impl Catalog {
    /// The table, from memory or from the server; `None` when the shard does not have it.
    ///
    /// # Errors
    /// [`SqlError`].
    pub async fn table(
        &mut self,
        session: &mut Session,
        database: &str,
        table: &str,
        generation: u64,
    ) -> Result<Option<Arc<TargetTable>>, SqlError> {
        let key = (database.to_owned(), table.to_owned());
        let known = self.tables.get(&key);
        let fresh =
            |entry: &&Entry| entry.generation == generation && entry.read_at.elapsed() < AGE_MAX;
        if let Some(entry) = known.filter(fresh) {
            return Ok(Some(Arc::clone(&entry.table)));
        }
        let Some(table) = read(session, database, table).await?.map(Arc::new) else {
            self.tables.remove(&key);
            return Ok(None);
        };
        if self.tables.len() >= TABLES_MAX {
            self.tables.clear();
        }
        let entry = Entry { generation, read_at: Instant::now(), table: Arc::clone(&table) };
        self.tables.insert(key, entry);
        Ok(Some(table))
    }

    /// Forgets everything: something was not as remembered.
    pub fn clear(&mut self) {
        self.tables.clear();
    }
}

async fn read(
    session: &mut Session,
    database: &str,
    table: &str,
) -> Result<Option<TargetTable>, SqlError> {
    // From here on it stays as it is, in the transaction that this is a part of.
    if !presence::hold_to_write(session, database, table).await? {
        return Ok(None);
    }
    let place = place(database, table);
    let sql = format!(
        "SELECT column_name, extra, data_type, character_set_name, collation_name, column_type, \
         CAST(COALESCE(character_octet_length, 0) AS UNSIGNED) \
         FROM information_schema.columns WHERE {place} AND EXISTS (\
         SELECT 1 FROM information_schema.tables WHERE {place} AND table_type='BASE TABLE')"
    );
    type Text = Option<Vec<u8>>;
    type ColumnRow = (Vec<u8>, Text, Vec<u8>, Text, Text, Vec<u8>, u64);
    let rows: Vec<ColumnRow> = session.rows("read the columns", &sql).await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let columns = rows.into_iter().map(|row| {
        let (name, extra, data_type, charset, collation, column_type, octets) = row;
        let column_type = text(&column_type);
        let extra = extra.as_deref().map(text).unwrap_or_default().to_uppercase();
        let column = TargetColumn {
            // MySQL also says DEFAULT_GENERATED, of an ordinary column with an expression as default.
            generated: extra.contains("VIRTUAL GENERATED") || extra.contains("STORED GENERATED"),
            json: text(&data_type).eq_ignore_ascii_case("json"),
            charset: charset.as_deref().map(text),
            collation: collation.as_deref().map(text),
            unique: false,
            data: Some(Type::read(&column_type)),
            text: column_type,
            octets,
        };
        (text(&name).to_lowercase(), column)
    });
    let mut target = TargetTable { columns: columns.collect(), ..TargetTable::default() };
    let sql = format!(
        "SELECT s.index_name, s.column_name, s.sub_part IS NULL AND c.is_nullable='NO', \
         s.non_unique=0, s.seq_in_index=1 \
         FROM information_schema.statistics s LEFT JOIN information_schema.columns c \
         ON c.table_schema=s.table_schema AND c.table_name=s.table_name \
         AND c.column_name=s.column_name \
         WHERE s.{} ORDER BY s.index_name, s.seq_in_index",
        place.replace(" AND ", " AND s.")
    );
    let rows: Vec<IndexRow> = session.rows("read the indexes", &sql).await?;
    note_indexes(&mut target, rows);
    Ok(Some(target))
}

/// Of an index: its name, a column (none for an expression), whether the column's whole value is in it and
/// never NULL, whether it is UNIQUE, and whether the column is its first.
type IndexRow = (Vec<u8>, Option<Vec<u8>>, Option<u8>, u8, u8);

/// Takes in the indexes.
fn note_indexes(target: &mut TargetTable, rows: Vec<IndexRow>) {
    let mut indexes: BTreeMap<Vec<u8>, (Vec<String>, bool)> = BTreeMap::new();
    for (index, column, tells, unique, first) in rows {
        let column = column.map(|column| text(&column).to_lowercase());
        target.indexed.extend(column.clone().filter(|_| first == 1));
        if unique == 0 {
            continue;
        }
        if let Some(column) = column.as_ref().and_then(|name| target.columns.get_mut(name)) {
            column.unique = true;
        }
        let (columns, tell_rows) = indexes.entry(index).or_insert_with(|| (Vec::new(), true));
        columns.extend(column);
        *tell_rows &= tells == Some(1);
    }
    target.primary_key = indexes.remove(&b"PRIMARY"[..]).unwrap_or_default().0;
    let secondary = indexes.len();
    target.other_keys = indexes.into_values().filter(|(_, tell)| *tell).map(|(c, _)| c).collect();
    let in_its_place = target.primary_key.is_empty() && !target.other_keys.is_empty();
    target.unique_secondary = secondary > usize::from(in_its_place);
}

/// `table_schema=… AND table_name=…`
pub(crate) fn place(database: &str, table: &str) -> String {
    let mut place = b"table_schema=".to_vec();
    quoted(&mut place, database.as_bytes());
    place.extend_from_slice(b" AND table_name=");
    quoted(&mut place, table.as_bytes());
    String::from_utf8_lossy(&place).into_owned()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
