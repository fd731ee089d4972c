-- getUsers: the cohort, which is all users who gave enough ratings, and what they rated.
INSERT OVERWRITE DIRECTORY :cohort
ROW FORMAT DELIMITED FIELDS TERMINATED BY ','
SELECT ratings.user_id, ratings.movie_id, ratings.rating
FROM ratings
JOIN (
    SELECT user_id
    FROM ratings
    GROUP BY user_id
    HAVING count(*) >= CAST(:min_ratings AS INT)
) active ON ratings.user_id = active.user_id
