# The functions of jq that do something else in gojq, as they are there. `gojq` has programs use those with an underscore.

# Objects go by their keys: in jq they go in the order in which they got them.
def _gojq_each: if type == "object" then .[keys[]] else .[] end;
def map(f): [_gojq_each | f];
def map_values(f): _gojq_each |= f;
def add(f): reduce f as $each (null; . + $each);
def add: add(_gojq_each);
def _gojq_join($by): join($by);
def join($by): if type == "object" then [_gojq_each] else . end | _gojq_join($by);
def recurse: recurse(_gojq_each?);
def paths: path(recurse) | select(length > 0);
def paths(f): path(recurse | select(f)) | select(length > 0);
def leaf_paths: paths(scalars);
def to_entries: [keys[] as $key | {key: $key, value: .[$key]}];
def with_entries(f): to_entries | map(f) | from_entries;

# Numbers are written without `.0`, and with exponents beyond 1e21 only.
def _gojq_json: tojson;
def _gojq_by_key:
  if type == "object" then . as $of | reduce keys[] as $key ({}; .[$key] = ($of[$key] | _gojq_by_key))
  elif type == "array" then map(_gojq_by_key)
  else . end;
def tojson:
  if type == "number" then _gojq_json | if test("[eE]") then ascii_downcase | sub("e-0"; "e-") else . end
  else _gojq_by_key | _gojq_json end;
def tostring: if type == "string" then . else tojson end;
def _gojq_number: tonumber;
def tonumber: if type == "string" and test("[.eE]") then _gojq_number + 0 else _gojq_number end;

# Strings have characters as arrays have elements; numbers of places are cut to whole ones.
def _gojq_at($at):
  if type == "string" and ($at | type) == "number" then explode | .[$at] | if . then [.] | implode else null end
  else .[$at] end;
def _gojq_whole: if type == "number" then trunc else . end;
def first: _gojq_at(0);
def last: _gojq_at(-1);
def nth($at): _gojq_at($at);
def _gojq_split($by): split($by);
def split($by): if . == "" and ($by | type) == "string" and $by != "" then [""] else _gojq_split($by) end;
def _gojq_reverse: reverse;
def reverse: if type == "array" then _gojq_reverse else error("reverse cannot be applied to \(type)") end;

# Times have offsets and fractions, no names of zones but UTC, and do not begin with the year 1.
def _gojq_mktime: mktime;
def mktime:
  if type == "array" and (.[5] | type) == "number" then (.[5] | . - trunc) as $fraction | _gojq_mktime + $fraction
  else _gojq_mktime end;
def _gojq_strptime($format): strptime($format);
def _gojq_offset:
  if . == "Z" then 0
  else capture("(?<sign>.)(?<hours>..):?(?<minutes>.*)")
    | ((.hours | _gojq_number) * 60 + (.minutes | if . == "" then 0 else _gojq_number end)) * 60
  end;
def strptime($format):
  . as $text
  | if type != "string" or ($format | type) != "string" then _gojq_strptime($format)
    elif $format | test("(^|[^%])(%%)*%Z") then error("strptime does not know %Z")
    elif $format | endswith("%z") then
      [capture("^(?<time>.*[^ ])(?<zone>Z|(?<sign>[-+])[0-9]{2}(:?[0-9]{2})?)$")][0]
      | if . == null then error("date \"\($text)\" does not match format \"\($format)\"") else . end
      | (if .sign == "-" then 1 else -1 end) as $sign
      | (.time | _gojq_strptime($format[:-2]) | mktime) + $sign * (.zone | _gojq_offset)
      | gmtime
    else _gojq_strptime($format) end
  | if . == [1, 0, 1, 0, 0, 0, 1, 0] then error("strptime does not take the first second of the year 1") else . end;
def fromdateiso8601: strptime("%Y-%m-%dT%H:%M:%S%z") | mktime;
def fromdate: fromdateiso8601;
def _gojq_strftime($format): strftime($format);
def strftime($format):
  if ($format | type) == "string" then _gojq_strftime($format | gsub("(?<before>(^|[^%])(%%)*)%Z"; "\(.before)UTC"))
  else _gojq_strftime($format) end;
