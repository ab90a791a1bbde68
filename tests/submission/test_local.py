from seqjax.submission import local


def test_the_script_is_the_golden_one(job, same_as_golden):
    same_as_golden(local.submission(job()), "local")
