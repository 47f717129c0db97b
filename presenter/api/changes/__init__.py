"""`GET /changes`: streams of what changes, as server-sent events.

endpoint    who asks → what for → from where on → a stream
stream      one stream: its place in each cluster, and what its caller is told, as fast as he takes it
viewer      who follows: what he may see, now and later
followed    what is followed, and what is told of a change
basis       what decides what may be seen, as one value
reading     one reading of the feed for all streams of a process
position    the token to go on from
events      the text of a stream
metrics     how many streams there are, and what they are told
"""
