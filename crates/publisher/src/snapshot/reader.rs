//! The reader: one connection that copies table after table, window after window.

use super::bar::Bar;
use super::catalog::{self, Catalog, Table, statement};
use super::chunk::Arena;
use super::columns::Columns;
use super::family;
use super::window::Ask;
use super::{Exact, Opened, Reading, Rows, TableName, Verdict, key, objects};
use crate::config::Config;
use crate::filter::{Decision, Filter};
use crate::source::Facts;
use crate::{Error, check, metrics};
use mysql_async::prelude::Queryable;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tributary_schema::quote;
use tributary_wire::{Item, SnapshotCursor, SnapshotProgress};

/// What the reader needs.
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) facts: Facts,
    /// What is copied.
    pub(crate) filter: Arc<Filter>,
    /// To the loop that owns capture.
    pub(crate) asks: mpsc::Sender<Ask>,
}

/// Rows of a chunk, as few and as many as may be.
const ROWS_MIN: usize = 100;
const ROWS_MAX: usize = 20_000;
const ROWS_FIRST: usize = 2_000;
/// A chunk aims at so many bytes, and ends early when it has so many.
const CHUNK_BYTES: usize = 1 << 20;
const CHUNK_BYTES_MAX: usize = 4 << 20;
/// After the log was in the way.
const AGAIN: Duration = Duration::from_millis(5);
const SAY_INTERVAL: Duration = Duration::from_secs(10);

struct Reader {
    context: Context,
    catalog: Catalog,
    cursor: SnapshotCursor,
    /// The databases have been made, and what is not here has gone.
    begun: bool,
    chunk_rows: usize,
    tables: Vec<Table>,
    rows_done: u64,
    began: Instant,
    bytes_done: u64,
    said: Instant,
    bar: Bar,
}

/// Copies what is behind `cursor`. Ends when everything is.
///
/// # Errors
/// [`Error`]; another attempt goes on where the target stands.
pub(crate) async fn run(context: Context, cursor: SnapshotCursor) -> Result<(), Error> {
    let mut catalog = Catalog::connect(&context.config.source, &context.facts).await?;
    let begun = !cursor.database.is_empty();
    let source = &context.config.source;
    let grants: Vec<String> = catalog.query("SHOW GRANTS").await?;
    let role: Vec<Option<String>> = catalog.query("SELECT CURRENT_ROLE()").await?;
    let role = role.into_iter().next().flatten();
    let lacks = check::lacks_for_snapshot(&grants, role.as_deref(), &context.facts, &source.user);
    if let Some(reason) = lacks {
        return Err(Error::SourceRefused { address: source.address(), reason });
    }
    let now = Instant::now();
    let mut reader = Reader {
        context,
        catalog,
        cursor,
        begun,
        chunk_rows: ROWS_FIRST,
        tables: Vec::new(),
        rows_done: 0,
        began: now,
        bytes_done: 0,
        said: now,
        bar: Bar::new(),
    };
    if reader.begun {
        reader.tables = reader.tables().await?;
        tracing::info!(
            database = reader.cursor.database,
            table = reader.cursor.table,
            "the snapshot goes on"
        );
    } else {
        tracing::info!("a snapshot begins");
    }
    while reader.step().await? {}
    tracing::info!(
        rows = reader.rows_done,
        seconds = reader.began.elapsed().as_secs(),
        "the snapshot is complete"
    );
    reader.catalog.close().await;
    Ok(())
}

// === impl Reader ===

impl Reader {
    /// Places one thing more; false when there is no more.
    async fn step(&mut self) -> Result<bool, Error> {
        if !self.begun {
            self.begun = self.inventory().await?;
            return Ok(true);
        }
        if !self.cursor.complete {
            self.chunk().await?;
            return Ok(true);
        }
        let Some(next) = self.next_table().await? else {
            return Ok(!self.finish().await?);
        };
        if let Some((first, last)) = self.family_of(&next.name).await? {
            if next.name != first {
                self.fall_back(first).await?;
            } else {
                self.family(&first, &last).await?;
            }
            return Ok(true);
        }
        self.refuse(&next)?;
        self.chunk_rows = ROWS_FIRST;
        match self.columns(&next.name).await? {
            None => {}
            Some(columns) if columns.by_range => self.define(&next.name).await?,
            Some(_) => self.whole(&next).await?,
        }
        Ok(true)
    }

    /// The tables that are copied.
    async fn tables(&mut self) -> Result<Vec<Table>, Error> {
        let filter = &self.context.filter;
        let mut tables = self.catalog.tables().await?;
        tables.retain(|table| filter.decide(&table.name.0, &table.name.1) == Decision::Carried);
        Ok(tables)
    }

    /// The first table behind the cursor.
    async fn next_table(&mut self) -> Result<Option<Table>, Error> {
        self.tables = self.tables().await?;
        let here = (self.cursor.database.clone(), self.cursor.table.clone());
        Ok(self.tables.iter().find(|table| table.name > here).cloned())
    }

    /// True when, inside a window that watches every definition, this is the next table. A table that
    /// was made behind the cursor since it was looked for would be passed by: it would count as live,
    /// and the statement that made it has been left.
    async fn is_next(
        &mut self,
        expected: Option<&TableName>,
        opened: &Opened,
    ) -> Result<bool, Error> {
        self.catalog.await_visible(opened).await?;
        Ok(self.next_table().await?.map(|table| table.name).as_ref() == expected)
    }

    /// A table's columns, as far as they are copied; `None` for a table that is gone.
    async fn columns(&mut self, name: &TableName) -> Result<Option<Columns>, Error> {
        let columns = self.catalog.columns(name).await?;
        columns.map(|columns| columns.narrowed(&self.context.filter)).transpose()
    }

    /// What cannot be copied is said before it is missed.
    fn refuse(&self, table: &Table) -> Result<(), Error> {
        let (database, name) = &table.name;
        let why = match table.sort.as_str() {
            "BASE TABLE" => return Ok(()),
            "SEQUENCE" => "is a sequence, whose state is in no log",
            "SYSTEM VERSIONED" => "is system-versioned: its past rows are in no log",
            _ => "is neither a table nor a view",
        };
        Err(Error::Snapshot {
            reason: format!("{database}.{name} {why}; drop it, or exclude it with a filter"),
        })
    }

    /// Says what there is: what else the target holds of this device goes.
    async fn inventory(&mut self) -> Result<bool, Error> {
        let Some(_) = self.open(None, false).await? else { return Ok(false) };
        if !self.context.filter.is_empty() {
            // A view that cannot be copied is said before the tables are, and not after.
            objects::definitions(&mut self.catalog, &self.context.filter).await?;
        }
        let items = objects::inventory(&mut self.catalog, &self.context.filter).await?;
        let cursor = Some(self.cursor.clone());
        let end = self.catalog.log_end().await?;
        let reading = self.reading(end, Exact::No, items, None, cursor);
        Ok(self.place(reading).await? == Verdict::Taken)
    }

    /// Views and code, as they are after the last table; then nothing is left.
    async fn finish(&mut self) -> Result<bool, Error> {
        let Some(opened) = self.open(None, false).await? else { return Ok(false) };
        if !self.is_next(None, &opened).await? {
            return Ok(false);
        }
        let mut items = objects::inventory(&mut self.catalog, &self.context.filter).await?;
        let definitions = objects::definitions(&mut self.catalog, &self.context.filter).await?;
        let Some(definitions) = definitions else {
            return Ok(false);
        };
        items.extend(definitions);
        let end = self.catalog.log_end().await?;
        let reading = self.reading(end, Exact::No, items, None, None);
        Ok(self.place(reading).await? == Verdict::Taken)
    }

    /// Makes the next table live, without its rows.
    async fn define(&mut self, name: &TableName) -> Result<(), Error> {
        let Some(opened) = self.open(None, false).await? else { return Ok(()) };
        if !self.is_next(Some(name), &opened).await? {
            return Ok(());
        }
        // What was seen before the window opened may have been altered since.
        if !self.columns(name).await?.is_some_and(|columns| columns.by_range) {
            return Ok(());
        }
        let Some(item) = self.definition(name).await? else { return Ok(()) };
        let end = self.catalog.log_end().await?;
        let cursor = at(name, Vec::new(), false);
        let reading = self.reading(end, Exact::No, vec![item], None, Some(cursor.clone()));
        if self.place(reading).await? == Verdict::Taken {
            self.cursor = cursor;
        }
        Ok(())
    }

    async fn definition(&mut self, name: &TableName) -> Result<Option<objects::Step>, Error> {
        let Some(text) = self.catalog.definition("TABLE", name, 1).await? else { return Ok(None) };
        let databases = self.catalog.databases().await?;
        let collation = databases.iter().find(|found| found.name == name.0);
        let collation = collation.map_or(0, |found| found.collation_id);
        let (database, table) = name.clone();
        let item = Item::Define { statement: 0, database, table };
        Ok(Some((item, Some(statement(text, &name.0, collation)))))
    }

    /// Reads the next range of the table that is under way.
    async fn chunk(&mut self) -> Result<(), Error> {
        let name = (self.cursor.database.clone(), self.cursor.table.clone());
        let Some(opened) = self.open(Some(&name), false).await? else { return Ok(()) };
        let columns = self.columns(&name).await?;
        let Some(columns) = columns.filter(|columns| columns.by_range) else {
            // Gone, or without its key: what the log says of that is carried already.
            self.cursor.complete = true;
            return Ok(());
        };
        let conditions = self.conditions(&columns);
        let (end, _) = self.catalog.begin(&opened).await?;
        let read = self.read(&columns, &conditions).await;
        self.catalog.end_read().await?;
        let (arena, exhausted) = match read {
            Ok(read) => read,
            Err(error) if catalog::moved(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        // A row of a table without transactions may be seen before the log has it.
        let end = self.catalog.log_end().await?.max(end);
        let last = arena.len().checked_sub(1).map(|last| arena.key(last, &columns.shape));
        let upper = if exhausted { Vec::new() } else { last.clone().unwrap_or_default() };
        let cursor = at(&name, last.unwrap_or_else(|| self.cursor.key.clone()), exhausted);
        let (rows, bytes) = (arena.len(), arena.bytes());
        let lower = self.cursor.key.clone();
        let shape = columns.shape;
        let rows_read = Rows {
            shape,
            arena,
            lower,
            upper,
            ranged: true,
            append: false,
            more: false,
            goes_on: false,
        };
        let reading =
            self.reading(end, Exact::No, Vec::new(), Some(rows_read), Some(cursor.clone()));
        match self.place(reading).await? {
            Verdict::Taken => {
                self.cursor = cursor;
                self.adapt(rows, bytes);
                self.count(rows, bytes).await;
            }
            // Less at once is less in the log's way.
            Verdict::Again => self.chunk_rows = (self.chunk_rows / 2).max(ROWS_MIN),
        }
        Ok(())
    }

    /// The ranges behind the cursor. A key that no longer fits, because the table has another by now,
    /// begins the table again.
    fn conditions(&mut self, columns: &Columns) -> Vec<String> {
        if !self.cursor.key.is_empty() {
            if let Some(conditions) = key::behind(columns, &self.cursor.key) {
                return conditions;
            }
            self.cursor.key.clear();
        }
        vec!["TRUE".to_owned()]
    }

    /// Rows of these ranges, in key order, and whether those are all.
    async fn read(
        &mut self,
        columns: &Columns,
        conditions: &[String],
    ) -> Result<(Arena, bool), Error> {
        let shape = &columns.shape;
        let mut arena = Arena::new(shape.columns.len());
        let order = columns.key_names().join(",");
        for condition in conditions {
            let limit = self.chunk_rows - arena.len();
            let sql = format!(
                "SELECT {} FROM {}.{} FORCE INDEX (PRIMARY) WHERE {condition} ORDER BY {order} LIMIT {limit}",
                columns.select,
                quote(&shape.database),
                quote(&shape.table)
            );
            let answer = self.catalog.conn.exec_iter(sql, ()).await;
            let mut answer = answer.map_err(|e| lost(&self.context, e))?;
            while let Some(row) = answer.next().await.map_err(|e| lost(&self.context, e))? {
                if arena.bytes() < CHUNK_BYTES_MAX {
                    arena.push(columns, row.unwrap())?;
                } else {
                    // Read to its end all the same: the connection has to be free again.
                    self.chunk_rows = arena.len().max(1);
                }
            }
            if arena.len() >= self.chunk_rows {
                return Ok((arena, false));
            }
        }
        Ok((arena, true))
    }

    /// A table without a key, or with one that cannot be written as a literal: all of it at one place
    /// of the log, which waits meanwhile.
    async fn whole(&mut self, table: &Table) -> Result<(), Error> {
        let name = &table.name;
        let Some(opened) = self.open(None, true).await? else { return Ok(()) };
        if !self.is_next(Some(name), &opened).await? {
            return Ok(());
        }
        let Some(item) = self.definition(name).await? else { return Ok(()) };
        let Some(columns) = self.columns(name).await? else { return Ok(()) };
        let (end, exact) = self.begin(table, &opened).await?;
        if exact == Exact::No {
            // Another transaction was just ending: whether it is seen cannot be told.
            self.catalog.end_read().await?;
            tokio::time::sleep(AGAIN).await;
            return Ok(());
        }
        let placed = self.stream(name, &columns, item, (end, exact)).await;
        match placed {
            Ok(Verdict::Taken) => {
                self.cursor = at(name, Vec::new(), true);
                self.end_read().await
            }
            Ok(Verdict::Again) => self.end_read().await,
            // The log moved on between the window and the read.
            Err(error) if catalog::moved(&error) => self.end_read().await,
            Err(error) => Err(error),
        }
    }

    /// Begins a read at one place of the log. A table without transactions is locked against writers for it: what
    /// it holds at one moment cannot be read otherwise.
    async fn begin(
        &mut self,
        table: &Table,
        opened: &Opened,
    ) -> Result<((u32, u64), Exact), Error> {
        if table.has_transactions() {
            return self.catalog.begin(opened).await;
        }
        let (database, name) = &table.name;
        tracing::warn!(
            database,
            table = name,
            engine = table.engine,
            "a table without a key and without transactions is copied: its writers wait until it is read"
        );
        let sql = format!("LOCK TABLES {}.{} READ", quote(database), quote(name));
        if let Err(error) = self.catalog.run(&sql).await {
            return match error {
                error @ Error::SourceLost { .. } if !catalog::moved(&error) => {
                    Err(Error::Snapshot {
                        reason: format!(
                            "{database}.{name} has no primary key that its rows can be read by, and its engine {} no transactions: it cannot be locked against writers while it is read ({error}): GRANT LOCK TABLES, SELECT ON *.* to the account, or give the table a primary key, or exclude it with a filter",
                            table.engine
                        ),
                    })
                }
                error if catalog::moved(&error) => Ok(((0, 0), Exact::No)),
                error => Err(error),
            };
        }
        // What was written before the lock is in the log.
        Ok((self.catalog.log_end().await?, Exact::Here))
    }

    async fn end_read(&mut self) -> Result<(), Error> {
        self.catalog.end_read().await?;
        self.catalog.run("UNLOCK TABLES").await
    }

    /// The first and the last of the tables that have to be copied at one place of the log with this one.
    async fn family_of(
        &mut self,
        name: &TableName,
    ) -> Result<Option<(TableName, TableName)>, Error> {
        if self.context.facts.logs_cascades() {
            return Ok(None);
        }
        let keys = self.catalog.foreign_keys().await?;
        let names = self.tables.iter().map(|table| &table.name);
        let spans = family::spans(&keys, names).map_err(|reason| Error::Snapshot { reason })?;
        Ok(spans.into_iter().find(|(first, last)| first <= name && name <= last))
    }

    /// Goes back to before a table: it was copied at another place of the log than those that it belongs to.
    async fn fall_back(&mut self, first: TableName) -> Result<(), Error> {
        let Some(_) = self.open(None, false).await? else { return Ok(()) };
        let items = objects::inventory(&mut self.catalog, &self.context.filter).await?;
        let end = self.catalog.log_end().await?;
        let cursor = family::before(first);
        let reading = self.reading(end, Exact::No, items, None, Some(cursor.clone()));
        if self.place(reading).await? == Verdict::Taken {
            self.cursor = cursor;
        }
        Ok(())
    }

    /// Copies all tables from the first to the last at one place of the log, which waits meanwhile: what a
    /// foreign key does to some of them when others change is in no log.
    async fn family(&mut self, first: &TableName, last: &TableName) -> Result<(), Error> {
        let Some(opened) = self.open(None, true).await? else { return Ok(()) };
        if !self.is_next(Some(first), &opened).await? {
            return Ok(());
        }
        let (end, exact) = self.catalog.begin(&opened).await?;
        if exact == Exact::No {
            self.catalog.end_read().await?;
            tokio::time::sleep(AGAIN).await;
            return Ok(());
        }
        let is_of = |name: &TableName| first <= name && name <= last;
        let tables: Vec<Table> =
            self.tables.iter().filter(|table| is_of(&table.name)).cloned().collect();
        // Questions are asked elsewhere: the connection is the read's until its end.
        let mut conn = Catalog::connect(&self.context.config.source, &self.context.facts).await?;
        std::mem::swap(&mut conn, &mut self.catalog);
        let placed = self.members(&mut conn, &tables, (end, exact)).await;
        conn.close().await;
        match placed {
            Ok(Verdict::Taken) => {
                self.cursor = at(last, Vec::new(), true);
                Ok(())
            }
            Ok(Verdict::Again) => self.regain(first).await,
            Err(error) if catalog::moved(&error) => self.regain(first).await,
            Err(error) => Err(error),
        }
    }

    /// After a part of a family was placed, and the rest cannot be: the whole of it again.
    async fn regain(&mut self, first: &TableName) -> Result<(), Error> {
        tokio::time::sleep(AGAIN).await;
        if let Some(opened) = self.open(None, false).await? {
            self.cursor = opened.cursor;
        }
        if (&self.cursor.database, &self.cursor.table) >= (&first.0, &first.1) {
            return self.fall_back(first.clone()).await;
        }
        Ok(())
    }

    async fn members(
        &mut self,
        reading_from: &mut Catalog,
        tables: &[Table],
        place: ((u32, u64), Exact),
    ) -> Result<Verdict, Error> {
        for (nth, table) in tables.iter().enumerate() {
            self.refuse(table)?;
            let name = &table.name;
            let item = self.definition(name).await?;
            let columns = self.columns(name).await?;
            let Some((item, columns)) = item.zip(columns) else { return Ok(Verdict::Again) };
            if !(table.has_transactions() || columns.by_range) {
                return Err(Error::Snapshot {
                    reason: format!(
                        "{}.{} has no primary key, its engine {} no transactions, and it has to be copied together with tables of foreign keys: give it a primary key, run ALTER TABLE … ENGINE=InnoDB, or exclude it with a filter",
                        name.0, name.1, table.engine
                    ),
                });
            }
            let shape = &columns.shape;
            let sql = format!(
                "SELECT {} FROM {}.{}",
                columns.select,
                quote(&shape.database),
                quote(&shape.table)
            );
            let goes_on = nth + 1 < tables.len();
            let place = place.clone();
            let verdict =
                self.stream_from(reading_from, &sql, name, &columns, item, place, goes_on).await?;
            if verdict == Verdict::Again {
                return Ok(verdict);
            }
        }
        Ok(Verdict::Taken)
    }

    async fn stream(
        &mut self,
        name: &TableName,
        columns: &Columns,
        item: objects::Step,
        (end, exact): ((u32, u64), Exact),
    ) -> Result<Verdict, Error> {
        let shape = &columns.shape;
        let sql = format!(
            "SELECT {} FROM {}.{}",
            columns.select,
            quote(&shape.database),
            quote(&shape.table)
        );
        // Questions of the window are over: the connection is the stream's until its end.
        let mut conn = Catalog::connect(&self.context.config.source, &self.context.facts).await?;
        std::mem::swap(&mut conn, &mut self.catalog);
        let outcome =
            self.stream_from(&mut conn, &sql, name, columns, item, (end, exact), false).await;
        std::mem::swap(&mut conn, &mut self.catalog);
        conn.close().await;
        outcome
    }

    #[allow(clippy::too_many_arguments, reason = "a table, where it is read, and where it goes")]
    async fn stream_from(
        &mut self,
        reading_from: &mut Catalog,
        sql: &str,
        name: &TableName,
        columns: &Columns,
        item: objects::Step,
        (end, exact): ((u32, u64), Exact),
        goes_on: bool,
    ) -> Result<Verdict, Error> {
        let shape = &columns.shape;
        let mut items = vec![item];
        let answer = reading_from.conn.exec_iter(sql, ()).await;
        let mut answer = answer.map_err(|e| lost(&self.context, e))?;
        let mut append = false;
        loop {
            let mut arena = Arena::new(shape.columns.len());
            let mut more = true;
            while more && arena.bytes() < CHUNK_BYTES && arena.len() < ROWS_MAX {
                match answer.next().await.map_err(|e| lost(&self.context, e))? {
                    Some(row) => arena.push(columns, row.unwrap())?,
                    None => more = false,
                }
            }
            let (rows, bytes) = (arena.len(), arena.bytes());
            let (lower, upper) = (Vec::new(), Vec::new());
            let shape = shape.clone();
            let part = Rows { shape, arena, lower, upper, ranged: false, append, more, goes_on };
            let cursor = Some(at(name, Vec::new(), true));
            let items = std::mem::take(&mut items);
            let reading = self.reading(end, exact.clone(), items, Some(part), cursor);
            let verdict = self.place(reading).await?;
            if verdict == Verdict::Again || !more {
                answer.drop_result().await.map_err(|e| lost(&self.context, e))?;
                return Ok(verdict);
            }
            append = true;
            self.count(rows, bytes).await;
        }
    }

    /// Opens a window. `None` when the snapshot has been taken back meanwhile: then the cursor is the
    /// one that holds now.
    async fn open(
        &mut self,
        watch: Option<&TableName>,
        hold: bool,
    ) -> Result<Option<Opened>, Error> {
        let (answer, opened) = oneshot::channel();
        let ask = Ask::Open { watch: watch.cloned(), hold, answer };
        self.context.asks.send(ask).await.map_err(|_| gone())?;
        let opened = opened.await.map_err(|_| gone())?;
        let same = |a: &SnapshotCursor, b: &SnapshotCursor| {
            (&a.database, &a.table) == (&b.database, &b.table)
        };
        if same(&opened.cursor, &self.cursor) {
            return Ok(Some(opened));
        }
        tracing::info!(
            database = opened.cursor.database,
            table = opened.cursor.table,
            "a statement changed what is being copied; the snapshot goes back to here"
        );
        self.cursor = opened.cursor;
        Ok(None)
    }

    async fn place(&mut self, reading: Reading) -> Result<Verdict, Error> {
        let (answer, verdict) = oneshot::channel();
        let ask = Ask::Place { reading: Box::new(reading), answer };
        self.context.asks.send(ask).await.map_err(|_| gone())?;
        let verdict = verdict.await.map_err(|_| gone())?;
        if verdict == Verdict::Again {
            metrics::snapshot_repeated();
            tokio::time::sleep(AGAIN).await;
        }
        Ok(verdict)
    }

    fn reading(
        &self,
        end: (u32, u64),
        exact: Exact,
        items: Vec<objects::Step>,
        rows: Option<Rows>,
        cursor: Option<SnapshotCursor>,
    ) -> Reading {
        Reading { end, exact, items, rows, cursor, progress: self.progress() }
    }

    fn progress(&self) -> SnapshotProgress {
        let here = (&self.cursor.database, &self.cursor.table);
        let is_done = |table: &&Table| {
            let name = (&table.name.0, &table.name.1);
            name < here || (name == here && self.cursor.complete)
        };
        let left = self.tables.iter().filter(|table| !is_done(table));
        SnapshotProgress {
            tables_done: self.tables.iter().filter(is_done).count() as u64,
            tables: self.tables.len() as u64,
            rows_done: self.rows_done,
            rows_left: left.map(|table| table.rows).sum(),
        }
    }

    fn adapt(&mut self, rows: usize, bytes: usize) {
        let row_bytes = bytes.checked_div(rows).unwrap_or(0).max(1);
        self.chunk_rows = (CHUNK_BYTES / row_bytes).clamp(ROWS_MIN, ROWS_MAX);
    }

    /// Counts what was placed, says so now and then, and keeps to the rates.
    async fn count(&mut self, rows: usize, bytes: usize) {
        self.rows_done += rows as u64;
        self.bytes_done += bytes as u64;
        metrics::snapshot_rows(rows as u64);
        if self.bar.is_shown() {
            self.bar.at(&self.cursor, &self.progress());
        } else if self.said.elapsed() > SAY_INTERVAL {
            self.said = Instant::now();
            let progress = self.progress();
            tracing::info!(
                database = self.cursor.database,
                table = self.cursor.table,
                rows = progress.rows_done,
                tables_done = progress.tables_done,
                tables = progress.tables,
                "the snapshot is under way"
            );
        }
        let limits = &self.context.config.snapshot;
        #[allow(clippy::cast_precision_loss, reason = "a pause need not be exact")]
        let due = |done: u64, rate: Option<u64>| {
            rate.map_or(0.0, |rate| done as f64 / rate.max(1) as f64)
        };
        let due = due(self.rows_done, limits.rows_per_second)
            .max(due(self.bytes_done, limits.bytes_per_second));
        tokio::time::sleep_until(self.began + Duration::from_secs_f64(due)).await;
    }
}

fn at((database, table): &TableName, key: Vec<u8>, complete: bool) -> SnapshotCursor {
    SnapshotCursor { database: database.clone(), table: table.clone(), key, complete }
}

fn lost(context: &Context, error: mysql_async::Error) -> Error {
    crate::source::lost_or_refused(&context.config.source.address(), error)
}

/// The loop that owns capture has ended, and says why.
fn gone() -> Error {
    Error::SnapshotDelayed { reason: "publishing ended".to_owned() }
}
