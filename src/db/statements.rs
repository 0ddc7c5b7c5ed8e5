//! Writes that a transaction sends together.

use sea_orm::sea_query::{
    Alias, CommonTableExpression, Query, SelectStatement, SubQueryStatement, WithClause, WithQuery,
};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, QueryResult};

/// Writes of different rows, whose order does not matter.
///
/// PostgreSQL runs all of them as one statement (data-modifying `WITH`, section 7.8.4 of its manual), because each round
/// trip costs more than most writes. Each sees the rows as they were before all of them; constraints on other tables are
/// checked after the last one. SQLite, which has no round trips, runs them one after another.
#[derive(Debug, Default)]
pub struct Statements(Vec<(Option<&'static str>, SubQueryStatement)>);

impl Statements {
    /// Adds a write.
    pub fn add(&mut self, write: impl Into<SubQueryStatement>) {
        self.0.push((None, write.into()));
    }

    /// Adds a write whose returned rows are a table of this name for the answer, on PostgreSQL only.
    pub(crate) fn add_named(&mut self, name: &'static str, write: impl Into<SubQueryStatement>) {
        self.0.push((Some(name), write.into()));
    }

    /// Runs all writes.
    pub async fn run(self, tx: &DatabaseTransaction) -> Result<(), DbErr> {
        if self.0.is_empty() {
            return Ok(());
        }
        let done = Query::select().expr(1).to_owned();
        self.run_and_answer(tx, done).await.map(drop)
    }

    /// Runs all writes, and then a query that returns one row.
    pub(crate) async fn run_and_answer(
        self,
        tx: &DatabaseTransaction,
        answer: SelectStatement,
    ) -> Result<Option<QueryResult>, DbErr> {
        if tx.get_database_backend() == DbBackend::Postgres {
            return tx.query_one(&self.into_one(answer)).await;
        }
        for (_, write) in self.0 {
            match write {
                SubQueryStatement::InsertStatement(insert) => tx.execute(&insert).await?,
                SubQueryStatement::UpdateStatement(update) => tx.execute(&update).await?,
                SubQueryStatement::DeleteStatement(delete) => tx.execute(&delete).await?,
                SubQueryStatement::SelectStatement(select) => tx.execute(&select).await?,
                SubQueryStatement::WithStatement(with) => tx.execute(&with).await?,
            };
        }
        tx.query_one(&answer).await
    }

    fn into_one(self, answer: SelectStatement) -> WithQuery {
        let mut with = WithClause::new();
        for (index, (name, write)) in self.0.into_iter().enumerate() {
            let name = name.map_or_else(|| format!("write_{index}"), str::to_owned);
            with.cte(CommonTableExpression::new().table_name(Alias::new(name)).query(write).to_owned());
        }
        with.query(answer)
    }
}
