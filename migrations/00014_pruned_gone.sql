-- +goose Up

-- It was taken for gone before its request was pruned: if it is listed all the same, it
-- is told. What was pruned before this was kept counts as handed out.
alter table pruned_instances add column gone boolean not null default false;

-- +goose Down
alter table pruned_instances drop column gone;
