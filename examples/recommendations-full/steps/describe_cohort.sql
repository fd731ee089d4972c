-- How large the cohort is, counted by Hive: the steps that follow must find as much.
SELECT
    count(DISTINCT ratings.user_id) AS users,
    count(DISTINCT ratings.movie_id) AS movies,
    count(*) AS ratings
FROM ratings
JOIN (
    SELECT user_id
    FROM ratings
    GROUP BY user_id
    HAVING count(*) >= CAST(:min_ratings AS INT)
) active ON ratings.user_id = active.user_id
