// Gives what gojq does: for each line with a program and its input, the JSON texts of its outputs, or null.
package main

import (
	"bufio"
	"encoding/json"
	"os"

	"github.com/itchyny/gojq"
)

func outputs(program string, input any) []string {
	query, err := gojq.Parse(program)
	if err != nil {
		return nil
	}
	code, err := gojq.Compile(query)
	if err != nil {
		return nil
	}
	texts := []string{}
	for iter := code.Run(input); ; {
		value, ok := iter.Next()
		if !ok {
			return texts
		}
		if _, failed := value.(error); failed {
			return nil
		}
		text, err := gojq.Marshal(value)
		if err != nil {
			return nil
		}
		texts = append(texts, string(text))
	}
}

func main() {
	lines, answers := bufio.NewReader(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var asked struct {
			Program string
			Input   any
		}
		if err := json.Unmarshal(line, &asked); err != nil {
			panic(err)
		}
		answers.Encode(outputs(asked.Program, asked.Input))
	}
}
